"""One SQLite file for what a device must not lose: opened, brought up to date, and kept private."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any, Final

from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.store.schema import MIGRATIONS
from fedaffect.edge.system.files import private_file
from fedaffect.edge.system.folders import data_folder

_FILE: Final = "device.sqlite3"
_BUSY_MS: Final = 10_000


class StoreError(FedAffectError):
    """The device's own file cannot be opened, read or written."""


def default_path() -> Path:
    """Where it lies unless said otherwise: in the data folder."""
    return data_folder() / _FILE


class Database:
    """The file, open. Safe to use from several threads and several processes.

    Write-ahead log with a sync at every commit: what was put is there after a kill or a power cut. Deleted content is
    overwritten with zeros.

    Parameters
    ----------
    path : Path, optional
        The file; ``default_path()`` where left out. Made, for its owner only, where there is none.
    busy_ms : int
        How long to wait where another process of the same device is writing.

    Raises
    ------
    StoreError
        If it cannot be opened, is no such file, or was written by a newer version.
    """

    def __init__(self, path: Path | None = None, *, busy_ms: int = _BUSY_MS) -> None:
        self.path = path or default_path()
        self._lock = RLock()
        self._busy_s = busy_ms / 1000
        try:
            private_file(self.path)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be opened ({error.strerror}); set FEDAFFECT_DATA") from error
        self._connection = self._connect()
        try:
            self._migrate()
        except BaseException:
            self._connection.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        with self._explained():
            connection = sqlite3.connect(self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
            try:
                for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
                    connection.execute(f"PRAGMA {pragma}").fetchall()
            except BaseException:
                connection.close()
                raise
            return connection

    def _migrate(self) -> None:
        with self.transaction() as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(MIGRATIONS):
                raise StoreError(f"{self.path} was written by a newer fedaffect (schema {version}); update this one")
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what is written inside; nests into one.

        Raises
        ------
        StoreError
            If the disk is full or fails, another process holds the file, or it is closed. Nothing was written then.
        """
        with self._lock, self._explained():
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back already; the error that counts is the first.
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a query finds.

        Raises
        ------
        StoreError
        """
        with self._lock, self._explained():
            return self._connection.execute(query, values).fetchall()

    def shred(self) -> None:
        """Rewrite the file without what was deleted, and empty its log.

        Raises
        ------
        StoreError
            If another process reads the file all the while, so that the log cannot be emptied.
        """
        with self._lock, self._explained():
            self._connection.execute("VACUUM")
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreError(f"{self.path} is being read elsewhere, so its log still holds what was deleted; run again")

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors in this house's words."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {_remedy(error)}") from error


def _remedy(error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    # The low byte is the kind, the rest its detail.
    match None if code is None else code & 0xFF:
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return f"it cannot be written ({error}); free space on this disk"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process has been writing to it for too long; end that one, or try again"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return f"it is damaged ({error}); move it away, and a new one will be made"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"it cannot be written ({error}); check its permissions and its folder's"
    return f"it cannot be used ({error}); open it again"
