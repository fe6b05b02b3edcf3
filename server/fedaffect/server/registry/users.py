"""Accounts: people who look at the server's page (viewer) and who act there (operator)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias, cast

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import NotFound
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.password_hash import check_password, hash_password, is_outdated
from fedaffect.server.registry.transactions import database_now, lock
from fedaffect.server.registry.user_tables import LoginRow, UserRow
from fedaffect.server.roles import ROLES

Role: TypeAlias = Literal["viewer", "operator"]
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account.

    Parameters
    ----------
    id, name : str
        The name is lower case.
    role : str
        ``viewer`` or ``operator``, who may do what a viewer may, and act.
    password_hash : str
        See `fedaffect.server.registry.password_hash`.
    created, password_changed : datetime
    """

    id: str
    name: str
    role: Role
    password_hash: str
    created: datetime
    password_changed: datetime

    def __repr__(self) -> str:
        # Not even the hash belongs into a log.
        return f"User(id={self.id!r}, name={self.name!r}, role={self.role!r})"


def add(registry: Registry, name: str, role: str, password: str, *, actor: str = "operator") -> User:
    """Make an account.

    Raises
    ------
    ConfigError
        If the name is taken or none, the role unknown, or the password easily guessed.
    """
    name = named(name)
    _check_role(role)
    check_password(password, name)
    hashed = hash_password(password)
    try:
        with registry.writing() as session:
            now = database_now(session)
            row = UserRow(
                id=secrets.token_hex(6),
                name=name,
                role=role,
                password_hash=hashed,
                created=now,
                password_changed=now,
            )
            session.add(row)
            session.flush()
            audit.append(session, "user.added", subject=row.id, actor=actor, name=name, role=role)
            return record(row)
    except IntegrityError as error:
        raise ConfigError(f"there is an account {name!r} already; see fedaffect server users list") from error


def every(registry: Registry) -> list[User]:
    """All accounts, by name."""
    with registry.reading() as session:
        return [record(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]


def any_there(registry: Registry) -> bool:
    """Whether anybody has an account."""
    with registry.reading() as session:
        return session.scalars(select(UserRow.id).limit(1)).first() is not None


def find(registry: Registry, name: str) -> User | None:
    """The account of that name; None where there is none."""
    with registry.reading() as session:
        row = session.scalars(select(UserRow).where(UserRow.name == name.strip().lower())).first()
        return record(row) if row else None


def get(registry: Registry, name: str) -> User:
    """The account of that name.

    Raises
    ------
    NotFound
        If there is none.
    """
    with registry.reading() as session:
        return record(_row(session, name))


def set_password(registry: Registry, name: str, password: str, *, actor: str = "operator") -> User:
    """Give an account another password; whoever is logged in with it is logged out.

    Raises
    ------
    NotFound
        If there is no such account.
    ConfigError
        If the password is easily guessed.
    """
    check_password(password, named(name))
    hashed = hash_password(password)
    with registry.writing() as session:
        row = _row(session, name)
        row.password_hash, row.password_changed = hashed, database_now(session)
        _log_out(session, row)
        session.flush()
        audit.append(session, "user.password", subject=row.id, actor=actor, name=row.name)
        return record(row)


def renew_hash(registry: Registry, user: User, password: str) -> None:
    """Hash a password that was right again, where passwords are hashed at other costs by now."""
    if not is_outdated(user.password_hash):
        return
    hashed = hash_password(password)
    with registry.writing() as session:
        row = session.get(UserRow, user.id, with_for_update=True)
        if row is not None and row.password_hash == user.password_hash:
            row.password_hash = hashed


def set_role(registry: Registry, name: str, role: str, *, actor: str = "operator") -> User:
    """Change what an account may do, from the next request on.

    Raises
    ------
    NotFound
        If there is no such account.
    ConfigError
        If the role is unknown.
    """
    _check_role(role)
    with registry.writing() as session:
        row = _row(session, name)
        if row.role != role:
            row.role = role
            session.flush()
            audit.append(session, "user.role", subject=row.id, actor=actor, name=row.name, role=role)
        return record(row)


def remove(registry: Registry, name: str, *, actor: str = "operator") -> User:
    """Delete an account; whoever is logged in with it is logged out.

    Raises
    ------
    NotFound
        If there is no such account.
    """
    with registry.writing() as session:
        row = _row(session, name)
        removed = record(row)
        _log_out(session, row)
        session.delete(row)
        session.flush()
        audit.append(session, "user.removed", subject=removed.id, actor=actor, name=removed.name)
        return removed


def named(name: str) -> str:
    """A name as accounts have it: without spaces around it, in lower case.

    Raises
    ------
    ConfigError
        If it is none.
    """
    given = name.strip().lower()
    if not _NAME.fullmatch(given):
        raise ConfigError(f"{name[:80]!a} is no name of an account; take up to 64 letters, digits and . _ @ -")
    return given


def record(row: UserRow) -> User:
    """A row as an account."""
    return User(
        id=row.id,
        name=row.name,
        role=cast(Role, row.role),
        password_hash=row.password_hash,
        created=row.created,
        password_changed=row.password_changed,
    )


def _row(session: Session, name: str) -> UserRow:
    lock(session, "users")
    row = session.scalars(select(UserRow).where(UserRow.name == name.strip().lower())).first()
    if row is None:
        raise NotFound(f"there is no account {name[:80]!a}; see fedaffect server users list")
    return row


def _log_out(session: Session, row: UserRow) -> None:
    session.execute(delete(LoginRow).where(LoginRow.user_id == row.id))


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ConfigError(f"{role!r} is no role; take one of {', '.join(ROLES)}")
