"""Sessions that people chose to keep: each belongs to the key that it came with, and is deleted for good."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import defer

from fedaffect.server.errors import NotFound, Overloaded
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.session_tables import KeptSessionRow

MOST_OF_ONE: Final = 200
_RETRY_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSession:
    """One session.

    Parameters
    ----------
    caller : str
        Id of the key that it came with, or an address where no keys are asked for.
    kind : str
        ``film`` or ``live``.
    name, notes : str
        The person's own.
    summary : mapping
        What a list shows of it.
    timeline : bytes
        Compressed; empty where only a list is asked for.
    id : str
    created : datetime
    """

    caller: str
    kind: str
    name: str
    summary: Mapping[str, Any]
    notes: str = ""
    timeline: bytes = b""
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


def keep(registry: Registry, session: KeptSession) -> None:
    """Store a session.

    Raises
    ------
    Overloaded
        If the caller has as many as may be.
    """
    with registry.writing() as writing:
        count = select(func.count()).where(KeptSessionRow.caller == session.caller)
        if (writing.scalar(count) or 0) >= MOST_OF_ONE:
            raise Overloaded(f"{MOST_OF_ONE} sessions are kept already; delete one first", _RETRY_S)
        writing.add(
            KeptSessionRow(
                id=session.id,
                caller=session.caller,
                kind=session.kind,
                name=session.name,
                notes=session.notes,
                created=session.created,
                summary=dict(session.summary),
                timeline=session.timeline,
            )
        )


def every(registry: Registry, caller: str, since: datetime) -> list[KeptSession]:
    """A caller's sessions without their timelines, the newest first.

    Parameters
    ----------
    registry : Registry
    caller : str
    since : datetime
        None that are older, also where they are not deleted yet.
    """
    query = select(KeptSessionRow).where(KeptSessionRow.caller == caller, KeptSessionRow.created >= since)
    with registry.reading() as reading:
        rows = reading.scalars(
            query.options(defer(KeptSessionRow.timeline)).order_by(KeptSessionRow.created.desc(), KeptSessionRow.id)
        )
        return [_record(row, b"") for row in rows]


def find(registry: Registry, caller: str, session_id: str, since: datetime) -> KeptSession:
    """A caller's own session with its timeline.

    Raises
    ------
    NotFound
        If there is none, it is somebody else's, or older than that.
    """
    with registry.reading() as reading:
        row = reading.get(KeptSessionRow, session_id)
        if row is None or row.caller != caller or row.created < since:
            raise _missing()
        return _record(row, row.timeline)


def describe(registry: Registry, caller: str, session_id: str, name: str | None, notes: str | None) -> None:
    """Change a session's name or notes.

    Raises
    ------
    NotFound
    """
    with registry.writing() as writing:
        row = writing.get(KeptSessionRow, session_id)
        if row is None or row.caller != caller:
            raise _missing()
        row.name = row.name if name is None else name
        row.notes = row.notes if notes is None else notes
    # What the notes were before is no longer kept either.
    registry.scrub(KeptSessionRow.__tablename__)


def erase(registry: Registry, caller: str, session_id: str) -> None:
    """Delete a session for good.

    Raises
    ------
    NotFound
    """
    if not _deleted(registry, KeptSessionRow.caller == caller, KeptSessionRow.id == session_id):
        raise _missing()


def erase_of(registry: Registry, caller: str) -> int:
    """Delete all that a caller kept; how many there were."""
    return _deleted(registry, KeptSessionRow.caller == caller)


def prune(registry: Registry, older_than: timedelta) -> int:
    """Delete what was kept for so long; how many there were."""
    return _deleted(registry, KeptSessionRow.created < datetime.now(UTC) - older_than)


def _deleted(registry: Registry, *which: ColumnElement[bool]) -> int:
    with registry.writing() as writing:
        count: int = writing.connection().execute(delete(KeptSessionRow).where(*which)).rowcount
    if count:
        registry.scrub(KeptSessionRow.__tablename__)
    return count


def _record(row: KeptSessionRow, timeline: bytes) -> KeptSession:
    return KeptSession(
        id=row.id,
        caller=row.caller,
        kind=row.kind,
        name=row.name,
        notes=row.notes,
        created=row.created,
        summary=row.summary,
        timeline=timeline,
    )


def _missing() -> NotFound:
    return NotFound("no such session is kept here; it was deleted, or its time was over")
