"""Clocks that differ: whatever expires is judged by the database's clock, and who is far from it is told so."""

from __future__ import annotations

from datetime import datetime, timedelta

from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry
from fedaffect.server.registry.errors import RegistryError
from fedaffect.server.registry.transactions import database_now


class ClockSkewed(RegistryError):
    """A machine's clock is too far from the database's for certificates and leases to mean the same on both."""


def check_clock(registry: Registry, said: datetime, who: str, *, most: timedelta = timedelta(minutes=5)) -> timedelta:
    """How far a machine's clock is ahead of the database's; negative if it is behind.

    Parameters
    ----------
    registry : Registry
    said : datetime
        The time it is there, with a time zone.
    who : str
        For the audit log: ``device:ID``, ``aggregator``.
    most : timedelta
        What is tolerated, the way of the message included.

    Raises
    ------
    ClockSkewed
        If it is further off; the audit log says so.
    """
    with registry.reading() as session:
        ahead = said - database_now(session)
    if abs(ahead) <= most:
        return ahead
    seconds = ahead.total_seconds()
    audit.write(registry, "clock.skewed", subject=who, actor=who, seconds=round(seconds, 3))
    raise ClockSkewed(
        f"the clock of {who} is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the registry's; "
        "set its clock, NTP does it by itself"
    )
