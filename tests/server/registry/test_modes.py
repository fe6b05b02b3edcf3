"""What the registry writes is its user's alone, whatever the umask and whatever lay there before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedaffect.server.registry import Registry, api_keys, backup, retention


@pytest.fixture(autouse=True)
def _open_to_all() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def lets_others_in(path: Path) -> list[str]:
    """Of a folder or file and all in it."""
    found = (path, *path.rglob("*"))
    return [f"{each} {each.stat().st_mode & 0o777:o}" for each in found if each.stat().st_mode & 0o077]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'new' / 'server.db'}") as opened:
        api_keys.create(opened, "kiosk", ["predict"])
        yield opened


def test_the_database_and_its_log_are_private(registry: Registry, tmp_path: Path) -> None:
    assert {path.name for path in (tmp_path / "new").iterdir()} >= {"server.db", "server.db-wal", "server.db-shm"}
    assert lets_others_in(tmp_path / "new") == []


def test_one_that_others_could_read_is_made_private(registry: Registry, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "new", old)
    for path in old.iterdir():
        path.chmod(0o644)
    with Registry.open(f"sqlite:///{old / 'server.db'}") as opened:
        assert api_keys.every(opened)
        assert [path for path in old.iterdir() if path.stat().st_mode & 0o077] == []


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    Registry.open(f"sqlite:///{shared / 'server.db'}").close()
    assert shared.stat().st_mode & 0o777 == 0o755
    assert (shared / "server.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("portable", [False, True])
def test_backups_and_what_is_restored_are_private(registry: Registry, tmp_path: Path, portable: bool) -> None:
    made = tmp_path / "backups" / "monday"
    backup.make(registry, made, as_portable=portable)
    assert lets_others_in(made.parent) == []
    backup.restore(made, f"sqlite:///{tmp_path / 'restored' / 'server.db'}")
    assert lets_others_in(tmp_path / "restored") == []


def test_a_dump_of_postgresql_is_private(postgresql_url: str, tmp_path: Path) -> None:
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed")
    with Registry.open(postgresql_url) as opened:
        made = backup.make(opened, tmp_path / "dump")
    assert made.form == backup.POSTGRESQL
    assert lets_others_in(tmp_path / "dump") == []


def test_what_is_exported_and_archived_is_private(registry: Registry, tmp_path: Path) -> None:
    backup.export(registry, tmp_path / "export")
    assert lets_others_in(tmp_path / "export") == []
    retention._write_lines(tmp_path / "archive" / "audit.jsonl", [])
    assert lets_others_in(tmp_path / "archive") == []


_ELSEWHERE = """
import sys
from fedaffect.server.registry import Registry, api_keys
with Registry.open(sys.argv[1]) as registry:
    print(len(api_keys.every(registry)))
"""


@pytest.mark.slow
def test_a_registry_that_is_opened_twice_keeps_its_locks(tmp_path: Path) -> None:
    """A process that closes any descriptor of a database's file lets go of all locks that it has on the file.

    Whoever closes the database next, elsewhere, then takes itself for the last one and deletes the log that this
    process goes on writing to.
    """
    url = f"sqlite:///{tmp_path / 'server.db'}"

    def seen_elsewhere() -> int:
        done = subprocess.run([sys.executable, "-c", _ELSEWHERE, url], capture_output=True, text=True, check=True)
        return int(done.stdout)

    with Registry.open(url) as first:
        api_keys.create(first, "one", ["predict"])
        Registry.open(url).close()
        assert seen_elsewhere() == 1
        api_keys.create(first, "two", ["predict"])
        assert seen_elsewhere() == 2
        with Registry.open(url) as second:
            api_keys.create(second, "three", ["predict"])
            assert seen_elsewhere() == 3
        api_keys.create(first, "four", ["predict"])
        assert seen_elsewhere() == 4
    assert seen_elsewhere() == 4
