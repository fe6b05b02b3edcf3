from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedaffect.edge.cli.cache import cache
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.cache import entries, in_use, remove


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FEDAFFECT_CACHE", str(folder))
    for path in ("features/abc/tokens.npy", "cohorts/old/rows.npy", "cohorts/new/rows.npy", "bundles/edge/text.onnx"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(b"x" * 1000)
    for path in (folder / "cohorts" / "old" / "rows.npy", folder / "cohorts" / "old"):
        os.utime(path, (1, 1))
    return folder


def run(*arguments: str) -> str:
    return CliRunner().invoke(cache, list(arguments), catch_exceptions=False).output


def test_list_gives_sizes_by_kind_and_counts_shared_files_once(filled: Path) -> None:
    os.link(filled / "cohorts" / "old" / "rows.npy", filled / "cohorts" / "new" / "same.npy")
    found = json.loads(run("list", "--json"))
    sizes = {kind: sum(e["bytes"] for e in found if e["kind"] == kind) for kind in ("features", "cohorts", "bundles")}
    assert sizes == {"features": 1000, "cohorts": 2000, "bundles": 1000}
    assert "4.0 kB" in run("list")


def test_prune_deletes_what_is_old_and_says_what_it_freed(filled: Path) -> None:
    assert "would free 1.0 kB in 1 entries" in run("prune", "--older-than", "30d", "--dry-run")
    assert (filled / "cohorts" / "old").is_dir()
    assert "freed 1.0 kB in 1 entries" in run("prune", "--older-than", "30d")
    assert sorted(p.name for p in (filled / "cohorts").iterdir()) == ["new"]


def test_bundles_in_use_and_features_being_written_stay(filled: Path) -> None:
    with (filled / "features" / "abc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "2 in use stay" in run("prune", "--all")
    assert (filled / "bundles" / "edge" / "text.onnx").is_file()
    assert (filled / "features" / "abc" / "tokens.npy").is_file()
    assert not list((filled / "cohorts").iterdir())
    assert "freed 1.0 kB" in run("prune", "--all", "--kind", "features")


def test_a_cohort_that_a_run_uses_stays(filled: Path, tmp_path: Path) -> None:
    chosen = [entry for entry in entries(filled, []) if entry.path.name == "old"]
    with in_use(filled / "cohorts" / "old"):
        assert "1 in use stay" in run("prune", "--all", "--kind", "cohorts")
        assert sorted(p.name for p in (filled / "cohorts").iterdir()) == ["old", "old.lock"]
        # Nor may one go that was free when it was looked at.
        assert [remove(entry) for entry in chosen] == [False]
    assert "freed 1.0 kB in 1 entries" in run("prune", "--all", "--kind", "cohorts")
    assert list((filled / "cohorts").iterdir()) == []
    with in_use(tmp_path):
        assert not tmp_path.with_name(f"{tmp_path.name}.lock").exists()


def test_nothing_is_deleted_without_saying_what(filled: Path) -> None:
    for arguments in ([], ["--all", "--older-than", "1d"], ["--older-than", "soon"]):
        with pytest.raises(ConfigError, match="30d"):
            run("prune", *arguments)
    assert (filled / "cohorts" / "old").is_dir()


def test_prune_follows_no_link_out_of_the_cache(filled: Path, tmp_path: Path) -> None:
    precious = tmp_path / "elsewhere" / "versions" / "1" / "precious"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"x" * 1000)
    (filled / "int8").mkdir()
    for link, target in (
        ("bundles/link", precious.parents[2]),
        ("cohorts/link", precious.parent),
        ("int8/file", precious),
        ("int8/lost", tmp_path / "lost"),
    ):
        (filled / link).symlink_to(target)
    (filled / "cohorts" / "new" / "inside").symlink_to(precious.parent)
    (filled / "features" / "store").mkdir()
    (filled / "features" / "store" / "versions").symlink_to(precious.parents[1])
    run("list")
    run("prune", "--all")
    assert precious.stat().st_size == 1000
    assert not [path for path in filled.rglob("*") if path.is_symlink()]
