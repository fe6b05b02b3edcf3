"""Enrolment tokens: each lets a number of devices in until it runs out, at once or after the operator approves them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import EnrolmentRefused
from fedaffect.server.registry.fleet_tables import DeviceRow, EnrolmentTokenRow
from fedaffect.server.registry.key_hash import hash_secret, matches, new_secret
from fedaffect.server.registry.transactions import database_now, lock

PREFIX: Final = "fe"
MOST_USES: Final = 100_000
# Held by whatever lets devices in or keeps them from coming in.
ENROLMENT: Final = "enrolment"
_LONGEST_NOTE: Final = 200
_UNKNOWN: Final = "the enrolment token is not one of ours; have a new one made with fedaffect fleet token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as the registry knows it, without its secret.

    Parameters
    ----------
    id, note : str
    uses, used : int
        Devices that it lets in, and those that came in by it.
    approval : bool
        Whether they wait until the operator approves them.
    group : str
        Of the devices that come in by it; empty for none.
    region : bool
        Whether it lets regions in, which stand for devices of their own, and nobody else.
    created, expires : datetime
    """

    id: str
    note: str
    uses: int
    used: int
    approval: bool
    group: str
    region: bool
    created: datetime
    expires: datetime


def make_token(
    registry: Registry,
    *,
    valid: timedelta = timedelta(days=1),
    note: str = "",
    uses: int = 1,
    approval: bool = False,
    group: str = "",
    region: bool = False,
) -> str:
    """Make a token ``fe_ID_SECRET``; its secret cannot be had again.

    Parameters
    ----------
    registry : Registry
    valid : timedelta
    note : str
        Who gets it.
    uses : int
        Devices that it lets in.
    approval : bool
        Whether they wait until the operator approves them.
    group : str
        Of these devices.
    region : bool
        Whether they are regions.

    Raises
    ------
    ConfigError
        If it would never be valid, or would let nobody in.
    """
    if valid <= timedelta(0):
        raise ConfigError("an enrolment token wants a time to live; give more than 0")
    if not 1 <= uses <= MOST_USES:
        raise ConfigError(f"an enrolment token lets 1 to {MOST_USES:,} devices in, not {uses:,}; give another number")
    secret, token_id = new_secret(), secrets.token_hex(6)
    with registry.writing() as session:
        now = database_now(session)
        session.add(
            EnrolmentTokenRow(
                id=token_id,
                secret_hash=hash_secret(secret),
                note=note[:_LONGEST_NOTE],
                created=now,
                expires=now + valid,
                uses=uses,
                approval=approval,
                group=group,
                region=region,
            )
        )
        audit.append(
            session,
            "token.made",
            subject=token_id,
            actor="operator",
            note=note[:_LONGEST_NOTE],
            expires=(now + valid).isoformat(),
            uses=uses,
            approval=approval,
            group=group,
            **({"region": True} if region else {}),
        )
    return f"{PREFIX}_{token_id}_{secret}"


def end_token(registry: Registry, token: str) -> Token:
    """Let nobody else in by a token; who came in by it stays. One that ran out before keeps its time.

    Parameters
    ----------
    registry : Registry
    token : str
        Whole, or its id.

    Raises
    ------
    ConfigError
        If there is none.
    """
    token_id = token.strip().split("_")[1] if token.strip().startswith(f"{PREFIX}_") else token.strip()
    with registry.writing() as session:
        lock(session, ENROLMENT)
        row = session.get(EnrolmentTokenRow, token_id)
        if row is None:
            raise ConfigError(f"no enrolment token has the id {token_id[:20]!r}; see fedaffect fleet token --list")
        now = database_now(session)
        if row.expires > now:
            row.expires = now
            audit.append(session, "token.ended", subject=row.id, actor="operator")
        return _record(row, _used(session).get(row.id, 0))


def every(registry: Registry) -> list[Token]:
    """All tokens that were not pruned, in the order they were made."""
    with registry.reading() as session:
        used = _used(session)
        rows = session.scalars(select(EnrolmentTokenRow).order_by(EnrolmentTokenRow.created, EnrolmentTokenRow.id))
        return [_record(row, used.get(row.id, 0)) for row in rows]


def of_secret(session: Session, token: str) -> EnrolmentTokenRow:
    """The row of a whole token.

    Raises
    ------
    EnrolmentRefused
        If there is none.
    """
    prefix, _, rest = token.strip().partition("_")
    token_id, _, secret = rest.partition("_")
    row = session.get(EnrolmentTokenRow, token_id) if prefix == PREFIX else None
    if row is None or not matches(secret, row.secret_hash):
        raise EnrolmentRefused(_UNKNOWN)
    return row


def require_usable(session: Session, token: EnrolmentTokenRow, now: datetime) -> None:
    """Refuse a token that ran out, or that let in as many devices as it may.

    Raises
    ------
    EnrolmentRefused
        If it lets nobody in now.
    """
    if token.expires <= now:
        raise EnrolmentRefused(
            f"the enrolment token expired at {token.expires:%Y-%m-%d %H:%M} UTC; have a new one made"
        )
    count = select(func.count()).select_from(DeviceRow).where(DeviceRow.token_id == token.id)
    if (session.scalar(count) or 0) >= token.uses:
        devices = "its device" if token.uses == 1 else f"its {token.uses} devices"
        raise EnrolmentRefused(f"the enrolment token was used: {devices} came in; have a new one made")


def require_meant_for(token: EnrolmentTokenRow, region: bool) -> None:
    """Refuse a region by a token for devices, and a device by one for regions: the token's maker says which it is.

    Raises
    ------
    EnrolmentRefused
        If the token lets the other in.
    """
    if region and not token.region:
        raise EnrolmentRefused(
            "the enrolment token lets no region in; have one made with fedaffect fleet token --region"
        )
    if token.region and not region:
        raise EnrolmentRefused("the enrolment token lets regions in; have one made with fedaffect fleet token")


def _used(session: Session) -> dict[str, int]:
    query = select(DeviceRow.token_id, func.count()).where(DeviceRow.token_id.is_not(None)).group_by(DeviceRow.token_id)
    return {str(token): count for token, count in session.execute(query)}


def _record(row: EnrolmentTokenRow, used: int) -> Token:
    return Token(
        id=row.id,
        note=row.note,
        uses=row.uses,
        used=used,
        approval=row.approval,
        group=row.group,
        region=row.region,
        created=row.created,
        expires=row.expires,
    )
