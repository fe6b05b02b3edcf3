"""Backups: one state of the whole registry in a folder, with hashes, checked when made and again when restored.

Three forms: SQLite's own online copy, ``pg_dump``'s archive, and JSON lines that either database takes. A backup is
no older state of the fleet to go back to lightly: devices keep ledgers of their own, which know of later charges.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import make_conninfo
from sqlalchemy import URL, delete, inspect, make_url, select, text, update
from sqlalchemy.orm import Session

from fedaffect.edge.system.files import make_private, replacing
from fedaffect.server.registry import audit, portable
from fedaffect.server.registry.audit import Head
from fedaffect.server.registry.audit_tables import AuditHeadRow
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import BackupError
from fedaffect.server.registry.folder_hash import file_sha256
from fedaffect.server.registry.run_tables import LeaseRow
from fedaffect.server.registry.user_tables import LoginRow

MANIFEST: Final = "manifest.json"
SQLITE: Final = "sqlite"
POSTGRESQL: Final = "pg_dump"
PORTABLE: Final = "portable"
# Lines of an archive's list that make or describe the schema itself.
_OF_SCHEMA: Final = re.compile(r" SCHEMA - | COMMENT - SCHEMA ")
_FILES: Final = {SQLITE: "registry.db", POSTGRESQL: "registry.dump", PORTABLE: "tables"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup says it is.

    Parameters
    ----------
    form : str
        ``sqlite``, ``pg_dump`` or ``portable``.
    created : str
        ISO 8601, UTC.
    revision : str
        Of the tables.
    schema : str
        PostgreSQL's schema that a ``pg_dump`` belongs into; empty for the other forms.
    head : str
        Of the audit log, ``ID:HASH``.
    rows : mapping of str to int
        By table.
    sha256 : mapping of str to str
        By file, relative to the folder.
    """

    form: str
    created: str
    revision: str
    schema: str
    head: str
    rows: Mapping[str, int]
    sha256: Mapping[str, str]


def make(registry: Registry, folder: Path, *, as_portable: bool = False) -> Backup:
    """Back the registry up while it is used; the folder appears when all of it is written and checked.

    Parameters
    ----------
    registry : Registry
    folder : Path
        Must not exist yet.
    as_portable : bool
        As JSON lines, which SQLite and PostgreSQL both take; also what is made where ``pg_dump`` is not installed.

    Raises
    ------
    BackupError
        If the folder exists or cannot be written, or the copy is not what was copied.
    AuditBroken
        If the audit log was tampered with.
    """
    if folder.exists():
        raise BackupError(f"{folder} exists; backups are never overwritten, choose another name")
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as partial:
            made = _make(registry, Path(partial) / "backup", as_portable)
            (Path(partial) / "backup").rename(folder)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{folder} cannot be written ({error}); make room, or choose another place") from error
    audit.write(registry, "registry.backed-up", subject="registry", actor="operator", form=made.form, head=made.head)
    return made


def read(folder: Path) -> Backup:
    """What a backup says it is, once all its files are what they were.

    Raises
    ------
    BackupError
        If a file is missing, was changed, or the folder is no backup.
    """
    try:
        values: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = Backup(**values)
    except (OSError, ValueError, TypeError) as error:
        raise BackupError(f"{folder} is no backup of a registry ({error}); name the folder of one") from error
    if found.form not in _FILES:
        raise BackupError(f"{folder} has a backup of an unknown form {found.form!r}; install the newest fedaffect")
    for name, wanted in found.sha256.items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != wanted:
            raise BackupError(f"{path} is missing or was changed since it was made; take another backup")
    return found


def check(folder: Path) -> Backup:
    """Restore a backup for a moment, and see whether everything is there.

    A ``pg_dump`` is only read through: to try it whole, restore it into an empty database.

    Raises
    ------
    BackupError, AuditBroken
        If not.
    """
    found = read(folder)
    if found.form == POSTGRESQL:
        _run([_program("pg_restore"), "--list", str(folder / _FILES[POSTGRESQL])], {})
        return found
    with tempfile.TemporaryDirectory() as scratch:
        _restore(found, folder, make_url(f"sqlite:///{Path(scratch) / 'server.db'}"))
    return found


def restore(folder: Path, url: str) -> Backup:
    """Put a backup into an empty database, check it there, and note that in the audit log.

    Whoever held a lease when it was made has lost it: aggregators start again from the newest round that is there.
    Nobody is logged in.

    Raises
    ------
    BackupError
        If the backup is damaged, the database is not empty or not of its kind, or not everything arrived.
    AuditBroken
        If the audit log in it was tampered with.
    """
    found = read(folder)
    _restore(found, folder, make_url(url))
    with Registry.open(url) as registry, registry.writing() as session:
        session.execute(update(LeaseRow).values(owner="", fencing_token=LeaseRow.fencing_token + 1))
        # One that was ended since would count again.
        session.execute(delete(LoginRow))
        audit.append(
            session,
            "registry.restored",
            subject="registry",
            actor="operator",
            form=found.form,
            created=found.created,
            head=found.head,
        )
    return found


def export(registry: Registry, folder: Path) -> dict[str, int]:
    """Write every table as JSON lines for people to read, without hashes of secrets and the features of feedback.

    Returns
    -------
    dict of str to int
        Rows by table.

    Raises
    ------
    BackupError
        If the folder has something in it or cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BackupError(f"{folder} is not empty; choose another folder")
        with registry.reading() as session:
            _see_one_state(session)
            portable.write_tables(session, folder, private=False)
            make_private(folder)
            return portable.count(session)
    except OSError as error:
        raise BackupError(f"{folder} cannot be written ({error}); make room, or choose another place") from error


def _make(registry: Registry, folder: Path, as_portable: bool) -> Backup:
    folder.mkdir(mode=0o700)
    if registry.dialect == "sqlite" and not as_portable:
        facts = _copy_sqlite(registry, folder)
        form = SQLITE
    elif as_portable or shutil.which("pg_dump") is None:
        facts = _write_portable(registry, folder)
        form = PORTABLE
    else:
        facts = _dump(registry, folder)
        form = POSTGRESQL
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    made = Backup(
        form=form,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sha256={path.relative_to(folder).as_posix(): file_sha256(path) for path in files},
        **facts,
    )
    (folder / MANIFEST).write_text(json.dumps(asdict(made), indent=2), encoding="utf-8")
    for path in (*files, folder / MANIFEST):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    make_private(folder)
    check(folder)
    return made


def _copy_sqlite(registry: Registry, folder: Path) -> dict[str, Any]:
    target = folder / _FILES[SQLITE]
    with (
        closing(sqlite3.connect(str(registry.url.database))) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
        # One file, without a log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        (state,) = copy.execute("PRAGMA integrity_check").fetchone()
    if state != "ok":
        raise BackupError(f"the copy of {registry.name} is damaged ({state}); check the disk and try again")
    # Of the copy, for the original goes on.
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        path = Path(scratch) / "copy.db"
        shutil.copyfile(target, path)
        with Registry.open(f"sqlite:///{path}") as copied, copied.reading() as session:
            return _facts(session)


def _write_portable(registry: Registry, folder: Path) -> dict[str, Any]:
    tables = folder / _FILES[PORTABLE]
    tables.mkdir()
    with registry.reading() as session:
        _see_one_state(session)
        portable.write_tables(session, tables, private=True)
        return _facts(session)


def _dump(registry: Registry, folder: Path) -> dict[str, Any]:
    with registry.reading() as session:
        _see_one_state(session)
        snapshot: str = session.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        facts = _facts(session)
        facts["schema"] = session.execute(text("SELECT current_schema()")).scalar_one()
        where, secrets = _where(registry.url)
        command = [_program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
        command += [f"--schema={facts['schema']}", f"--file={folder / _FILES[POSTGRESQL]}", f"--dbname={where}"]
        _run(command, secrets)
    return facts


def _facts(session: Session) -> dict[str, Any]:
    head = session.scalars(select(AuditHeadRow)).one()
    revision: str = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    said = str(Head(head.last_id, head.last_hash))
    return {"revision": revision, "schema": "", "head": said, "rows": portable.count(session)}


def _restore(found: Backup, folder: Path, url: URL) -> None:
    backend = url.get_backend_name()
    if {SQLITE: "sqlite", POSTGRESQL: "postgresql"}.get(found.form, backend) != backend:
        raise BackupError(
            f"a backup of the form {found.form} does not go into {backend}; make one with --portable, which does"
        )
    said = url.render_as_string(hide_password=False)
    if found.form == SQLITE:
        _place_sqlite(folder / _FILES[SQLITE], Path(str(url.database)))
    elif found.form == POSTGRESQL:
        _undump(found, folder / _FILES[POSTGRESQL], url)
    with Registry.open(said) as registry:
        if found.form == PORTABLE:
            _read_portable(found, folder / _FILES[PORTABLE], registry)
        _compare(found, registry)


def _place_sqlite(source: Path, target: Path) -> None:
    if target.exists():
        raise BackupError(f"{target} exists; a backup goes into a new file, move that one away or name another")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(target, private=True) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise BackupError(f"{target} cannot be written ({error.strerror}); make room, or name another") from error


def _undump(found: Backup, source: Path, url: URL) -> None:
    said = url.render_as_string(hide_password=False)
    with Registry.connect(said) as registry, registry.reading() as session:
        schema: str | None = session.execute(text("SELECT current_schema()")).scalar_one()
        if schema != found.schema:
            raise BackupError(
                f"the backup belongs into the schema {found.schema!r}, and {registry.name} uses {schema!r}; "
                "name a database that has it, or make a backup with --portable"
            )
        if inspect(session.connection()).get_table_names():
            raise BackupError(f"{registry.name} has tables already; a backup goes into an empty database")
    where, secrets = _where(url)
    program = _program("pg_restore")
    # The schema itself is there already.
    listed = _run([program, "--list", str(source)], {}).splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "list"
        wanted.write_text("\n".join(line for line in listed if not _OF_SCHEMA.search(line)) + "\n")
        command = [program, "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
        _run([*command, f"--use-list={wanted}", f"--dbname={where}", str(source)], secrets)


def _read_portable(found: Backup, tables: Path, registry: Registry) -> None:
    with registry.writing() as session:
        revision = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        if revision != found.revision:
            raise BackupError(
                f"the backup has tables of revision {found.revision}, and this program makes {revision}; "
                "restore it with the version of fedaffect that made it, which the newest then takes on"
            )
        if not portable.empty(session):
            raise BackupError(f"{registry.name} is not empty; a backup goes into an empty database")
        portable.read_tables(session, tables)


def _compare(found: Backup, registry: Registry) -> None:
    with registry.reading() as session:
        rows = portable.count(session)
    different = sorted(name for name, number in found.rows.items() if rows.get(name) != number)
    if different:
        raise BackupError(f"{registry.name} has other rows than the backup in {', '.join(different)}; take another one")
    head = audit.verify(registry).head
    if str(head) != found.head:
        raise BackupError(f"the audit log ends at {head} and not at {found.head} as the backup says; take another one")


def _see_one_state(session: Session) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def _where(url: URL) -> tuple[str, dict[str, str]]:
    """The database as PostgreSQL's programs are told, and what must not stand on their command line."""
    said = {name: str(value) for name, value in url.query.items() if name != "options"}
    parts = url.translate_connect_args(username="user", database="dbname")
    password = parts.pop("password", None)
    return make_conninfo(**said, **parts), {"PGPASSWORD": str(password)} if password is not None else {}


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BackupError(f"{name} is not installed; install PostgreSQL's client programs, or use --portable")
    return found


def _run(command: list[str], secrets: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            command, env=os.environ | secrets, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        )
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())[:500]
        raise BackupError(f"{Path(command[0]).name} failed ({said}); use --portable if the versions differ") from error
    return done.stdout
