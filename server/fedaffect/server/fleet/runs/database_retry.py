"""Getting over a database that is away for a while, as long as a run can wait."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from fedaffect.server.registry import Registry, RegistryUnavailable, audit
from fedaffect.server.registry.retry import retried

logger = logging.getLogger("flwr")

_FIRST_S, _LONGEST_S = 0.2, 5.0
PATIENCE_S: Final = 600.0

T = TypeVar("T")


def patiently(
    act: Callable[[], T], patience_s: float = PATIENCE_S, recovered: Callable[[float], None] | None = None
) -> T:
    """Do something with the registry, again and again while its database is away.

    Everything that the registry does may be repeated: what was done already changes nothing.

    Parameters
    ----------
    act : callable
    patience_s : float
    recovered : callable, optional
        Told how many seconds the database was away, once it is back.

    Raises
    ------
    RegistryGone
        If it is away for longer.
    """

    def tried() -> T:
        try:
            return act()
        except RegistryUnavailable as error:
            logger.warning("%s", error)
            raise

    def told(away_s: float, _attempts: int, _cause: str) -> None:
        if recovered is not None:
            recovered(away_s)

    return retried(tried, patience_s=patience_s, first_s=_FIRST_S, longest_s=_LONGEST_S, recovered=told)


def opened(url: str, *, subject: str, actor: str) -> Registry:
    """The registry, also if its database is away when a program starts; the audit log then says for how long.

    Raises
    ------
    RegistryGone
        If it is away for longer than `PATIENCE_S`.
    """
    away_s: list[float] = []
    registry = patiently(lambda: Registry.open(url), recovered=away_s.append)
    for seconds in away_s:
        note_outage(registry, seconds, subject=subject, actor=actor)
    return registry


def note_outage(registry: Registry, seconds: float, *, subject: str, actor: str) -> None:
    """Have the audit log say that the database was away, even if it goes away again over that."""
    patiently(
        lambda: audit.write(registry, "registry.was-away", subject=subject, actor=actor, seconds=round(seconds, 1))
    )
