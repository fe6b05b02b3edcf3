from __future__ import annotations

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fedaffect.edge.store import Database, Kind, Queue, StoreError, database, default_path
from fedaffect.edge.store.schema import MIGRATIONS


def _tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return found


def test_the_file_and_its_log_are_the_owners_alone(data_folder: Path) -> None:
    before = os.umask(0)
    try:
        with Database() as opened:
            with opened.transaction() as connection:
                connection.execute("INSERT INTO dropped VALUES ('test', 1)")
            files = list(data_folder.iterdir())
            assert {file.name for file in files} >= {"device.sqlite3", "device.sqlite3-wal"}
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(before)
    assert default_path() == data_folder / "device.sqlite3"


def test_a_file_that_others_could_read_is_closed_to_them(data_folder: Path) -> None:
    Database().close()
    (data_folder / "device.sqlite3").chmod(0o644)
    Database().close()
    assert stat.S_IMODE((data_folder / "device.sqlite3").stat().st_mode) == 0o600


def test_an_older_file_is_brought_up_to_date_with_what_it_holds(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Database() as old, old.transaction() as connection:
        connection.execute("INSERT INTO dropped VALUES ('full', 7)")
    step = ("ALTER TABLE dropped ADD COLUMN note TEXT NOT NULL DEFAULT 'none'", "CREATE TABLE later (x INTEGER)")
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, step))
    with Database() as new:
        assert new.rows("SELECT reason, entries, note FROM dropped") == [("full", 7, "none")]
        assert new.rows("PRAGMA user_version") == [(len(MIGRATIONS) + 1,)]
    with Database() as again:
        assert again.rows("PRAGMA user_version") == [(len(MIGRATIONS) + 1,)]


def test_a_step_that_fails_leaves_the_file_as_it_was(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database().close()
    before = _tables(data_folder / "device.sqlite3")
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE later (x INTEGER)", "NO SUCH WORDS")))
    with pytest.raises(StoreError, match="syntax"):
        Database()
    assert _tables(data_folder / "device.sqlite3") == before
    monkeypatch.undo()
    with Database(data_folder / "device.sqlite3") as opened:
        assert opened.rows("PRAGMA user_version") == [(len(MIGRATIONS),)]


def test_a_newer_file_is_refused(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(database, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE later (x INTEGER)",)))
        Database().close()
    with pytest.raises(StoreError, match=r"newer fedaffect .* update this one"):
        Database()


def test_what_is_no_database_is_refused_and_left_alone(data_folder: Path) -> None:
    data_folder.mkdir()
    path = data_folder / "device.sqlite3"
    path.write_bytes(b"my diary, which is no database at all\n" * 100)
    with pytest.raises(StoreError, match=r"damaged .* move it away"):
        Database()
    assert path.read_bytes().startswith(b"my diary")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="FEDAFFECT_DATA"):
        Database(tmp_path / "file" / "device.sqlite3")


def test_a_closed_file_says_so(data_folder: Path) -> None:
    opened = Database()
    opened.close()
    with pytest.raises(StoreError, match="open it again"):
        opened.rows("SELECT 1")


# A disk that is really full: the kernel refuses to let the process's files grow.
FULL = """
import resource, signal, sys
from fedaffect.edge.cloud.messages import feedback_request
from fedaffect.edge.store import Database, Kind, Queue, StoreError

def request(i, size):
    import numpy as np
    rows = np.random.default_rng(i).normal(size=(size, 64))
    return feedback_request(idempotency_key=f"k{i}", request_id=f"r{i}", label="joy", consent=True,
                            features={"audio": rows}, encoder_keys={"audio": "key"})

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
queue = Queue(Database())
queue.put(Kind.EXAMPLE, request(0, 10), "k0")
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
for i in range(1, 30):
    try:
        queue.put(Kind.EXAMPLE, request(i, 400), f"k{i}")
    except StoreError as error:
        print(i, error)
        break
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on the size of files")
def test_a_full_disk_is_one_clear_error_and_nothing_half_written(data_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    failed_at, _, message = done.stdout.strip().partition(" ")
    assert "free space on this disk" in message
    with Database() as opened:
        keys = [entry.idempotency_key for entry in Queue(opened).entries()]
        assert keys == [f"k{i}" for i in range(int(failed_at))]
        assert opened.rows("PRAGMA integrity_check") == [("ok",)]
        assert all(entry.message().request_id for entry in Queue(opened).entries() if entry.kind is Kind.EXAMPLE)
