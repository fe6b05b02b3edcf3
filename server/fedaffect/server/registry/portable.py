"""All tables as JSON lines, in an order in which they can be read in again: for people, and between databases."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Float, LargeBinary, String, func, insert, select, text
from sqlalchemy import Table as SqlTable
from sqlalchemy.orm import Session

from fedaffect.edge.errors import at
from fedaffect.server.registry.base import UtcDateTime
from fedaffect.server.registry.errors import BackupError
from fedaffect.server.registry.tables import Table

# Hashes of secrets open nothing, but who reads an export has no use for them; neither for what users said and showed.
_PRIVATE: Final = {
    ("api_keys", "secret_hash"),
    ("enrolment_tokens", "secret_hash"),
    ("feedback", "features"),
    *(("kept_sessions", column) for column in ("name", "notes", "summary", "timeline")),
    ("logins", "secret_hash"),
    ("users", "password_hash"),
}
_BATCH: Final = 500


def tables() -> list[SqlTable]:
    """All tables; what refers to others comes after them."""
    return list(Table.metadata.sorted_tables)


def count(session: Session) -> dict[str, int]:
    """How many rows each table has."""
    return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables()}


def write_tables(session: Session, folder: Path, *, private: bool) -> None:
    """Write ``TABLE.jsonl`` for each table, rows in the order of their keys.

    Parameters
    ----------
    session : Session
        Whose transaction sees one state.
    folder : Path
    private : bool
        With hashes of secrets and the features of feedback, as a backup wants them.
    """
    for table in tables():
        columns = [column for column in table.columns if private or (table.name, column.name) not in _PRIVATE]
        query = select(*columns).order_by(*table.primary_key.columns).execution_options(yield_per=_BATCH)
        with (folder / f"{table.name}.jsonl").open("w", encoding="utf-8") as file, session.execute(query) as rows:
            for row in rows:
                said = {column.name: _said(column, value) for column, value in zip(columns, row, strict=True)}
                file.write(json.dumps(said, ensure_ascii=False, allow_nan=False) + "\n")


def read_tables(session: Session, folder: Path) -> None:
    """Fill empty tables from what `write_tables` wrote with everything private.

    Raises
    ------
    BackupError
        If a line is none of ours.
    """
    for table in tables():
        rows: list[dict[str, Any]] = []
        for row in _rows(table, folder / f"{table.name}.jsonl"):
            rows.append(row)
            if len(rows) == _BATCH:
                _insert(session, table, rows)
                rows = []
        _insert(session, table, rows)
    if session.get_bind().dialect.name == "postgresql":
        _continue_counting(session)


def _insert(session: Session, table: SqlTable, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    if table.name == "audit_head":
        # The migration made the one row there is, for an empty log.
        session.execute(table.update().values(rows[0]))
        return
    session.execute(insert(table), rows)


def _rows(table: SqlTable, path: Path) -> Iterator[dict[str, Any]]:
    columns = {column.name: column for column in table.columns}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                said = json.loads(line)
                if set(said) != set(columns):
                    raise ValueError("other columns")
                yield {name: _meant(columns[name], value) for name, value in said.items()}
            except (ValueError, TypeError) as error:
                raise BackupError(
                    f"{at(path, number)} is no row of {table.name} ({error}); take another backup"
                ) from error


def _said(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, UtcDateTime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(column.type, LargeBinary):
        return base64.b64encode(value).decode()
    # JSON has no infinity, and an ε of a run without noise is one.
    if isinstance(column.type, Float) and not math.isfinite(value):
        return str(value)
    return value


def _meant(column: Column[Any], said: Any) -> Any:
    if said is None:
        return None
    if isinstance(column.type, UtcDateTime):
        return datetime.fromisoformat(said)
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(said, validate=True)
    if isinstance(column.type, Float):
        return float(said)
    if isinstance(column.type, String) and not isinstance(said, str):
        raise TypeError(f"{column.name} is no text")
    return said


def _continue_counting(session: Session) -> None:
    """Numbers that the database gives out go on behind those read in."""
    for table in tables():
        for column in table.primary_key.columns:
            if column.autoincrement is True:
                session.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "  # noqa: S608
                        f"GREATEST((SELECT MAX({column.name}) FROM {table.name}), 1), "
                        f"(SELECT MAX({column.name}) FROM {table.name}) IS NOT NULL)"
                    )
                )


def empty(session: Session) -> bool:
    """Whether nothing was ever written."""
    return not any(number for name, number in count(session).items() if name != "audit_head")
