"""Logins: which browser is whose, until it logs out, is idle for too long, or too old."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select

from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.key_hash import hash_secret, matches, new_secret
from fedaffect.server.registry.transactions import database_now
from fedaffect.server.registry.user_tables import LoginRow, UserRow
from fedaffect.server.registry.users import User, record

# A write for each request would be many; a minute less or more of idleness is none.
_NOTED: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long a login counts.

    Parameters
    ----------
    idle, whole : timedelta
        Since it was last used, and since its password was typed.
    """

    idle: timedelta = timedelta(hours=2)
    whole: timedelta = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A browser that is logged in.

    Parameters
    ----------
    id : str
    user : User
        As it is now.
    address : str
        Where it was made from.
    created, seen, expires : datetime
    """

    id: str
    user: User
    address: str
    created: datetime
    seen: datetime
    expires: datetime


def begin(registry: Registry, user: User, address: str, lifetime: Lifetime) -> tuple[Login, str]:
    """Log in somebody whose password was right; logins that ran out are deleted.

    Returns
    -------
    Login, str
        What was stored, and ``ID.SECRET`` for the browser, which cannot be had again.
    """
    secret = new_secret()
    with registry.writing() as session:
        now = database_now(session)
        session.execute(delete(LoginRow).where(LoginRow.expires <= now))
        row = LoginRow(
            id=secrets.token_hex(16),
            secret_hash=hash_secret(secret),
            user_id=user.id,
            address=address[:64],
            created=now,
            seen=now,
            expires=now + min(lifetime.idle, lifetime.whole),
        )
        session.add(row)
        session.flush()
        audit.append(session, "user.logged-in", subject=user.id, actor=f"user:{user.name}", address=address[:64])
        return _record(row, user), f"{row.id}.{secret}"


def find(registry: Registry, token: str, lifetime: Lifetime) -> Login | None:
    """The login that a browser's ``ID.SECRET`` is of, if it still counts; it is then used, and counts for longer."""
    login_id, _, secret = token.partition(".")
    with registry.reading() as session:
        row = session.get(LoginRow, login_id)
        if row is None or not matches(secret, row.secret_hash):
            return None
        now = database_now(session)
        owner = session.get(UserRow, row.user_id)
        if owner is None or row.expires <= now:
            return None
        login = _record(row, record(owner))
    if now - login.seen >= min(_NOTED, lifetime.idle / 4):
        with registry.writing() as session:
            written = session.get(LoginRow, login_id, with_for_update=True)
            if written is None:
                return None
            written.seen = now
            written.expires = min(now + lifetime.idle, written.created + lifetime.whole)
    return login


def counts(registry: Registry, login_id: str) -> bool:
    """Whether a login counts now, without using it."""
    with registry.reading() as session:
        row = session.get(LoginRow, login_id)
        return row is not None and row.expires > database_now(session)


def of_user(registry: Registry, user: User) -> list[Login]:
    """Logins of an account that count now, newest first."""
    with registry.reading() as session:
        query = select(LoginRow).where(LoginRow.user_id == user.id, LoginRow.expires > database_now(session))
        return [_record(row, user) for row in session.scalars(query.order_by(LoginRow.created.desc()))]


def end(registry: Registry, login: Login, *, actor: str) -> None:
    """End a login; again, and nothing changes."""
    with registry.writing() as session:
        row = session.get(LoginRow, login.id, with_for_update=True)
        if row is not None:
            session.delete(row)
            session.flush()
            audit.append(session, "user.logged-out", subject=login.user.id, actor=actor, logins=1)


def end_all(registry: Registry, user: User, *, actor: str) -> int:
    """End all logins of an account; how many there were."""
    with registry.writing() as session:
        rows = list(session.scalars(select(LoginRow).where(LoginRow.user_id == user.id).with_for_update()))
        for row in rows:
            session.delete(row)
        if rows:
            session.flush()
            audit.append(session, "user.logged-out", subject=user.id, actor=actor, logins=len(rows))
        return len(rows)


def _record(row: LoginRow, user: User) -> Login:
    return Login(id=row.id, user=user, address=row.address, created=row.created, seen=row.seen, expires=row.expires)
