"""API keys: made, found, revoked."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import NotFound
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.key_hash import hash_secret, new_secret
from fedaffect.server.registry.tables import ApiKeyRow
from fedaffect.server.scopes import SCOPES

PREFIX: Final = "fa"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as the registry knows it.

    Parameters
    ----------
    id, name : str
    secret_hash : str
        See `fedaffect.server.registry.key_hash`.
    scopes : tuple of str
        Some of ``SCOPES``; ``admin`` includes the others.
    created : datetime
    expires, revoked : datetime, optional
    requests_per_minute : int
    """

    id: str
    name: str
    secret_hash: str
    scopes: tuple[str, ...]
    created: datetime
    expires: datetime | None
    revoked: datetime | None
    requests_per_minute: int

    def __repr__(self) -> str:
        # Not even the hash belongs into a log.
        return f"ApiKey(id={self.id!r}, name={self.name!r}, scopes={self.scopes!r})"


def create(
    registry: Registry,
    name: str,
    scopes: Sequence[str],
    *,
    requests_per_minute: int = 600,
    expires: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key.

    Returns
    -------
    ApiKey, str
        What was stored, and the whole key ``fa_ID_SECRET``, which cannot be had again.

    Raises
    ------
    ConfigError
        If a scope is unknown, none is given, the rate is not positive, or it would have expired already.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise ConfigError(f"a key wants scopes among {', '.join(SCOPES)}, not {', '.join(unknown) or 'none at all'}")
    if requests_per_minute < 1:
        raise ConfigError(f"{requests_per_minute} requests a minute let nobody in; give at least 1")
    if not name.strip() or len(name) > 200:
        raise ConfigError("a key wants a name of 1 to 200 characters, so that one knows later whose it is")
    created = datetime.now(UTC)
    if expires is not None and expires <= created:
        raise ConfigError(f"a key that expired at {expires:%Y-%m-%d %H:%M} would never work; give a later time")
    secret = new_secret()
    row = ApiKeyRow(
        id=secrets.token_hex(6),
        secret_hash=hash_secret(secret),
        name=name.strip(),
        scopes=[scope for scope in SCOPES if scope in scopes],
        created=created,
        expires=expires,
        revoked=None,
        requests_per_minute=requests_per_minute,
    )
    with registry.writing() as session:
        session.add(row)
        session.flush()
        key = _record(row)
    return key, f"{PREFIX}_{key.id}_{secret}"


def find(registry: Registry, key_id: str) -> ApiKey | None:
    """The key with that id, revoked and expired ones too."""
    with registry.reading() as session:
        row = session.get(ApiKeyRow, key_id)
        return _record(row) if row else None


def every(registry: Registry) -> list[ApiKey]:
    """All keys, oldest first."""
    with registry.reading() as session:
        return [_record(row) for row in session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.created, ApiKeyRow.id))]


def revoke(registry: Registry, key_id: str) -> ApiKey:
    """Refuse a key from now on; one revoked before keeps the time.

    Raises
    ------
    NotFound
        If there is none with that id.
    """
    with registry.writing() as session:
        row = session.get(ApiKeyRow, key_id)
        if row is None:
            raise NotFound(f"no key has the id {key_id!r}; see fedaffect server keys list")
        row.revoked = row.revoked or datetime.now(UTC)
        session.flush()
        return _record(row)


def _record(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        secret_hash=row.secret_hash,
        scopes=tuple(row.scopes),
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        requests_per_minute=row.requests_per_minute,
    )
