"""The registry's database: opened by URL, brought to its newest tables, and honest when it is away."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError, TimeoutError
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import private_file
from fedaffect.edge.system.folders import data_folder
from fedaffect.server.errors import Unavailable

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
# Any number, the same for all servers of one database: who holds it migrates, the others wait.
_MIGRATION_LOCK: Final = 7_362_514_001
# Alembic keeps what it works on in names of its modules, which threads of one process share.
_MIGRATING: Final = threading.Lock()
# How long readers are waited for when the write-ahead log is to be emptied.
_SCRUB_S: Final = 5.0
_SCRUB_RETRY_S: Final = 0.05
# PostgreSQL's disk_full.
_FULL: Final = "53100"


class RegistryUnavailable(Unavailable):
    """The database does not answer now; the request may be tried again."""


class RegistryFull(RegistryUnavailable):
    """The database's disk is full; nothing was written, and it goes on once there is room."""


def default_url() -> str:
    """SQLite in the data folder."""
    return f"sqlite:///{(data_folder() / 'server.db').absolute()}"


class Registry:
    """A database with the registry's tables; shared by threads.

    Open it with :meth:`open`. What it holds is read and written by the functions of the modules beside this
    one: ``api_keys``, ``models``, ``bundles``, ``deployments`` and ``feedback``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # One pool, two ways to begin: SQLite must know at BEGIN that a transaction will write, or two that read
        # before they write refuse each other at once instead of waiting.
        self._writing = engine.execution_options(fedaffect_writes=True)

    @classmethod
    def open(cls, url: str | None = None, *, wait_s: float = 5.0) -> Registry:
        """Connect and bring the tables to their newest form.

        Parameters
        ----------
        url : str, optional
            ``sqlite:///PATH`` or ``postgresql+psycopg://USER@HOST/NAME``; :func:`default_url` if not given.
        wait_s : float
            How long a connection, or another writer's lock, is waited for.

        Raises
        ------
        ConfigError
            If the URL names no database known here, or its tables come from a newer version of this program.
        RegistryUnavailable
            If it does not answer.
        """
        registry = cls.connect(url, wait_s=wait_s)
        try:
            registry.migrate("head")
        except BaseException:
            registry.close()
            raise
        return registry

    @classmethod
    def connect(cls, url: str | None = None, *, wait_s: float = 5.0) -> Registry:
        """Like :meth:`open`, and leave the tables as they are: there may be none yet."""
        return cls(_connect(_parse(url or default_url()), wait_s))

    @property
    def url(self) -> URL:
        """The URL, with its password."""
        return self._engine.url

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._engine.url.render_as_string(hide_password=True)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads.

        Raises
        ------
        RegistryUnavailable
            If the database does not answer.
        """
        with self._guarded(), Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that commits at its end, or not at all.

        Raises
        ------
        RegistryUnavailable
            If the database does not answer; nothing was written.
        """
        with self._guarded(), Session(self._writing) as session, session.begin():
            yield session

    def migrate(self, revision: str) -> None:
        """Bring the tables to a revision; several servers may do so at once, and several threads of one.

        Parameters
        ----------
        revision : str
            ``head``, ``base`` or a revision's id.
        """
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        with _MIGRATING, self._guarded(), self._writing.begin() as connection:
            if self.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            try:
                if revision == "base" or revision.startswith("-"):
                    command.downgrade(config, revision)
                else:
                    command.upgrade(config, revision)
            except CommandError as error:
                raise ConfigError(
                    f"the registry {self.name} was made by another version of fedaffect ({error}); "
                    "install that one, or name another database with --registry"
                ) from error

    def revisions(self) -> tuple[str, str]:
        """The revision that the tables have, empty where there are none, and the one that this program works with.

        Raises
        ------
        RegistryUnavailable
            If the database does not answer.
        """
        with self._guarded(), self._engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() or "", _newest_revision()

    def scrub(self, table: str) -> bool:
        """Leave no bytes of deleted rows where the database can help it; False where readers kept it from doing so.

        SQLite's write-ahead log is moved into the file, where deleted bytes are zeros already, and emptied. PostgreSQL
        vacuums the table, which frees the bytes; its own log, archives and backups are its operator's.

        Parameters
        ----------
        table : str
            Of ours.

        Raises
        ------
        RegistryUnavailable
            If the database does not answer.
        """
        with self._guarded(), self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if self.dialect != "sqlite":
                connection.exec_driver_sql(f"VACUUM {table}")
                return True
            until_s = time.monotonic() + _SCRUB_S
            while True:
                raw: Any = connection.connection.driver_connection
                raw.rollback()
                busy, *_ = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy or time.monotonic() >= until_s:
                    return not busy
                time.sleep(_SCRUB_RETRY_S)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError, TimeoutError) as error:
            raise self._unavailable(error) from error
        except DBAPIError as error:
            # SQLite's way of saying that the file is damaged or something else; a mistake in SQL has a class below.
            damaged = type(error) is DatabaseError and self.dialect == "sqlite"
            if error.connection_invalidated or damaged:
                raise self._unavailable(error) from error
            raise

    def _unavailable(self, error: Exception) -> RegistryUnavailable:
        orig = getattr(error, "orig", None)
        cause = " ".join(str(orig or error).split())
        if getattr(orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(orig, "sqlstate", None) == _FULL:
            return RegistryFull(f"the registry {self.name} has no room left ({cause}); free some space, then try again")
        remedy = (
            "check that it is a database, that its folder can be written and that no other program keeps it locked"
            if self.dialect == "sqlite"
            else "check that the database runs and that the URL is right"
        )
        return RegistryUnavailable(f"the registry {self.name} does not answer ({cause}); {remedy}, then try again")


@cache
def _newest_revision() -> str:
    return ScriptDirectory(str(_MIGRATIONS)).get_current_head() or ""


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigError(
            f"{url!r} is no database URL; write sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
        ) from error
    if parsed.drivername in {"postgres", "postgresql"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise ConfigError(
            f"the registry does not run on {parsed.drivername}; "
            "write sqlite:///PATH or postgresql+psycopg://USER@HOST/NAME"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise ConfigError("a registry in memory would be forgotten; write sqlite:///PATH")
    return parsed


def _connect(url: URL, wait_s: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database))
        folder = path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be made ({error.strerror}); set FEDAFFECT_DATA to a folder that can be written"
            ) from error
        # What cannot be opened is said when it is used, as of any database.
        with suppress(OSError):
            private_file(path)
        engine = create_engine(url, connect_args={"timeout": wait_s})
        event.listen(engine, "connect", lambda connection, _: _prepare_sqlite(connection, wait_s))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # Before each use the connection is tried, so that one that the database dropped meanwhile is replaced.
    # A database that states no encoding of its own would give bytes where text is meant.
    connect = {"connect_timeout": max(1, round(wait_s)), "client_encoding": "utf8"}
    return create_engine(url, connect_args=connect, pool_pre_ping=True, pool_timeout=wait_s, max_overflow=5)


def _prepare_sqlite(connection: Any, wait_s: float) -> None:
    # The driver would begin only before writes, and never before DDL; _begin_sqlite says it instead.
    connection.isolation_level = None
    _use_write_ahead_log(connection, time.monotonic() + wait_s)
    # What was committed stays committed, also when the power goes: a finished round must never be lost.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # What is deleted is overwritten with zeros.
    connection.execute("PRAGMA secure_delete=ON")


def _use_write_ahead_log(connection: Any, until: float) -> None:
    """Switch the file over if it is not yet; while others have it open SQLite refuses at once, without waiting."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # Codes with more to say have the plain one in their lowest byte.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("fedaffect_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
