"""Inside one transaction: the database's clock, and locks that last as long as it."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


def database_now(session: Session) -> datetime:
    """The time by the database's clock, the only one that all servers share.

    The clock, not the transaction's beginning: a writer that waited for a lock must see the time after the wait.
    """
    if _is_postgresql(session):
        moment: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return moment.astimezone(UTC)
    said: str = session.execute(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")).scalar_one()
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


def lock(session: Session, name: str) -> None:
    """Wait until no other transaction holds the lock of that name, and hold it to the end of this one.

    SQLite has one writer at a time anyhow: a session of ``Registry.writing`` holds the whole database.
    """
    if _is_postgresql(session):
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 7362514))"), {"name": name})


def _is_postgresql(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
