"""Getting over a database that is away for a while: the same act again and again, with growing pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry, RegistryUnavailable

T = TypeVar("T")


class RegistryGone(RegistryUnavailable):
    """The database was away for longer than anybody was prepared to wait."""


def patiently(
    registry: Registry,
    act: Callable[[], T],
    *,
    patience_s: float = 120.0,
    first_s: float = 0.1,
    longest_s: float = 5.0,
) -> T:
    """Do something with the registry, and do it again while its database is away.

    A commit whose answer was lost may have happened, so ``act`` must be one that may happen twice. All functions of
    the stores beside this module are; give ``participations.settle`` one `Outcome` made outside of ``act``, whose
    receipt says that it is the same delivery. Once the database is back, the audit log says how long it was away.

    Parameters
    ----------
    registry : Registry
    act : callable
    patience_s : float
        How long to go on, at least.
    first_s, longest_s : float
        The first pause and the greatest; each is twice the one before, and shortened by up to a half at random, so
        that servers that wait for one database do not all return at once.

    Returns
    -------
    Whatever ``act`` returns.

    Raises
    ------
    RegistryGone
        If the database is away for longer.
    """
    return retried(
        act,
        patience_s=patience_s,
        first_s=first_s,
        longest_s=longest_s,
        recovered=lambda away_s, attempts, cause: _tell(registry, away_s, attempts, cause),
    )


def retried(
    act: Callable[[], T],
    *,
    patience_s: float,
    first_s: float,
    longest_s: float,
    recovered: Callable[[float, int, str], None] | None = None,
) -> T:
    """As `patiently`, for whoever says in words of their own that the database was away.

    Parameters
    ----------
    recovered : callable, optional
        Told, once the database is back: seconds that it was away, attempts, and what it said last.

    Raises
    ------
    RegistryGone
        If the database is away for longer.
    """
    if not (patience_s >= 0 and 0 < first_s <= longest_s):
        raise ConfigError("patience wants a time of at least 0 and pauses that grow from more than 0")
    began = time.monotonic()
    pause_s, attempts = first_s, 0
    cause = ""
    while True:
        attempts += 1
        try:
            done = act()
        except RegistryUnavailable as error:
            cause = str(error)
            away_s = time.monotonic() - began
            if away_s >= patience_s:
                raise RegistryGone(f"{cause}; gave up after {away_s:.0f} s and {attempts} attempts") from error
            time.sleep(min(pause_s * random.uniform(0.5, 1.0), max(0.01, patience_s - away_s)))
            pause_s = min(2 * pause_s, longest_s)
            continue
        if attempts > 1 and recovered is not None:
            recovered(time.monotonic() - began, attempts, cause)
        return done


def _tell(registry: Registry, away_s: float, attempts: int, cause: str) -> None:
    # What was to be done is done; that the database went away again must not undo it.
    with suppress(RegistryUnavailable):
        audit.write(
            registry,
            "registry.away",
            subject="registry",
            actor="aggregator",
            seconds=round(away_s, 3),
            attempts=attempts,
            cause=cause[:500],
        )
