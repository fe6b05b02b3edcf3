"""`fedaffect server models` and `bundles`, as an operator calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fedaffect.edge.bundle import RUNTIME, EncoderEntry, FileEntry, Manifest, SigningKey, Source, sign
from fedaffect.edge.errors import BundleError, ConfigError, FedAffectError
from fedaffect.server.cli.bundles import bundles
from fedaffect.server.cli.models import completed, models
from fedaffect.server.errors import NotFound
from fedaffect.server.registry import Registry, deployments
from fedaffect.server.registry import bundles as offers
from fedaffect.server.registry.folder_hash import file_sha256


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    found = f"sqlite:///{tmp_path / 'server.db'}"
    monkeypatch.setenv("FEDAFFECT_REGISTRY", found)
    monkeypatch.setenv("FEDAFFECT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "250")
    return found


def _model(parent: Path, version: str, profile: str = "cloud") -> str:
    folder = parent / version
    folder.mkdir()
    (folder / "model.json").write_text(json.dumps({"version": version, "profile": profile, "label_set": "shared7"}))
    (folder / "fusion.safetensors").write_bytes(version.encode())
    return str(folder)


def _run(command: object, *arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result


def _shares(url: str) -> dict[str, float]:
    with Registry.open(url) as registry:
        split = deployments.current(registry)
    return dict(split.shares) if split else {}


def test_a_canary_from_its_folder_to_its_rollback(tmp_path: Path, url: str) -> None:
    assert "no models yet" in _run(models, "list").output
    assert "gets all requests" in _run(models, "add", _model(tmp_path, "v1")).output
    added = _run(models, "add", _model(tmp_path, "v2"), "--metric", "uar=0.75", "--from", "run=runs/one")
    assert "models share v2=10" in added.output
    assert _shares(url) == {"v1": 1.0}
    assert "v1 90 %, v2 10 %" in _run(models, "share", "v2=10").output
    assert _shares(url) == pytest.approx({"v1": 0.9, "v2": 0.1})
    listed = _run(models, "list").output
    for said in ("90 %", "10 %", "uar 0.75", "run runs/one", "split 2"):
        assert said in listed
    rows = [json.loads(line) for line in _run(models, "list", "--json").output.splitlines()]
    assert [(row["version"], row["share"]) for row in rows] == [("v1", pytest.approx(0.9)), ("v2", pytest.approx(0.1))]
    assert "back to split 1" in _run(models, "rollback").output
    assert _shares(url) == {"v1": 1.0}


def test_the_first_model_for_features_leaves_those_for_media_alone(tmp_path: Path, url: str) -> None:
    _run(models, "add", _model(tmp_path, "v1"))
    _run(models, "add", _model(tmp_path, "small", "edge-features"))
    assert _shares(url) == {"v1": 1.0, "small": 1.0}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["share", "v2=10"], "no model has the version 'v2'"),
        (["share", "v1=110"], "more than 100 %"),
        (["share", "v1=-10"], "leaves 110 %"),
        (["share", "v1=ten"], "is no number"),
        (["share", "v1"], "is not NAME=VALUE"),
        (["share", "v1=50"], "leaves 50 % to no version"),
        (["rollback"], "no earlier split"),
        (["add", "nowhere"], r"has no model\.json"),
    ],
)
def test_mistakes_are_said_and_change_nothing(tmp_path: Path, url: str, arguments: list[str], says: str) -> None:
    _run(models, "add", _model(tmp_path, "v1"))
    with pytest.raises(FedAffectError, match=says):
        CliRunner().invoke(models, arguments, catch_exceptions=False)
    assert _shares(url) == {"v1": 1.0}


def test_shares_are_completed_within_a_kind() -> None:
    kinds = {"a": "media", "b": "media", "c": "media", "f": "features"}
    before = {"a": 0.6, "b": 0.4, "f": 1.0}
    assert completed({"c": 0.5}, before, kinds) == pytest.approx({"a": 0.3, "b": 0.2, "c": 0.5, "f": 1.0})
    assert completed({"c": 1.0}, before, kinds) == {"c": 1.0, "f": 1.0}
    assert completed({"c": 1.0, "a": 0.0}, before, kinds) == {"c": 1.0, "a": 0.0, "f": 1.0}
    with pytest.raises(ConfigError):
        completed({"f": 0.5}, before, kinds)
    with pytest.raises(NotFound):
        completed({"z": 0.5}, before, kinds)


def _bundle(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    (folder / "text.onnx").write_bytes(content)
    entry = EncoderEntry("text", FileEntry.of(folder / "text.onnx"), {}, 4, 0.0, "fp32", Source("a test"), {})
    Manifest("edge", "3", "2026-01-01T00:00:00+00:00", RUNTIME, {"text": entry}).write(folder)
    sign(folder, SigningKey.own())
    return folder


def test_a_bundle_is_kept_as_a_tar_and_offered(tmp_path: Path, url: str) -> None:
    assert "no bundles yet" in _run(bundles, "list").output
    first = _bundle(tmp_path / "one", b"1")
    version = _run(bundles, "add", str(first)).output.split()[0]
    with Registry.open(url) as registry:
        with pytest.raises(NotFound):
            offers.get_offered(registry)
        _run(bundles, "offer", version)
        entry = offers.get_offered(registry)
        assert entry.path.is_relative_to(tmp_path / "data")
        assert entry.sha256 == file_sha256(entry.path)
        assert entry.size_bytes == entry.path.stat().st_size
        # Its tar, given again, is the same bundle; what lies in the first folder later does not matter.
        (first / "text.onnx").write_bytes(b"2")
        assert _run(bundles, "add", str(entry.path)).output.split()[0] == version
        assert offers.get_offered(registry) == entry
        assert version in _run(bundles, "list").output
        second = _run(bundles, "add", str(_bundle(tmp_path / "two", b"2")), "--offer").output.split()[0]
        assert offers.get_offered(registry).version == second
        _run(bundles, "offer", second, "--withdraw")
        assert offers.get_offered(registry).version == version


def test_a_damaged_bundle_is_not_offered(tmp_path: Path, url: str) -> None:
    folder = _bundle(tmp_path / "one", b"1")
    (folder / "text.onnx").write_bytes(b"2")
    with pytest.raises(BundleError):
        CliRunner().invoke(bundles, ["add", str(folder)], catch_exceptions=False)
    with Registry.open(url) as registry:
        assert offers.every(registry) == []
    assert not (tmp_path / "data" / "bundles").exists()
