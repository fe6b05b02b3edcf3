"""One retry policy for a database that is away: growing pauses, an end, and an audit entry once it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from fedaffect.server.registry import audit
from fedaffect.server.registry.database import Registry, RegistryUnavailable

GIVE_UP_S: Final = 600.0
_FIRST_S: Final = 0.2
_LONGEST_S: Final = 5.0

# Where an operator of a fleet looks: the log of the ServerApp.
logger = logging.getLogger("flwr")

T = TypeVar("T")


class RegistryGone(RegistryUnavailable):
    """The database was away for longer than the retry policy allows."""


def retry_while_away(
    act: Callable[[], T], give_up_s: float = GIVE_UP_S, recovered: Callable[[float], None] | None = None
) -> T:
    """Call a function of the registry, and call it again while the database is away.

    A commit whose answer was lost may have happened, so ``act`` must be one that may happen twice. All functions of
    the stores in this package are; give ``participations.record_outcome`` one `Outcome` made outside of ``act``, whose
    receipt says that it is the same delivery.

    Parameters
    ----------
    act : callable
    give_up_s : float
        How long to go on, in seconds.
    recovered : callable, optional
        Called with the seconds that the database was away, once it is back.

    Returns
    -------
    Whatever ``act`` returns.

    Raises
    ------
    RegistryGone
        If the database is away for longer than ``give_up_s``.
    """
    began = time.monotonic()
    attempts = Retrying(
        retry=retry_if_exception_type(RegistryUnavailable),
        # Jitter keeps servers that wait for one database from returning at the same moment.
        wait=wait_exponential_jitter(multiplier=_FIRST_S, max=_LONGEST_S, jitter=_FIRST_S),
        stop=stop_after_delay(give_up_s),
        before_sleep=lambda state: logger.warning("%s", _error_of(state)),
        retry_error_callback=_gone,
    )
    done: T = attempts(act)
    if recovered is not None and attempts.statistics["attempt_number"] > 1:
        recovered(time.monotonic() - began)
    return done


def open_when_back(url: str, *, subject: str, actor: str) -> Registry:
    """Open the registry, also if its database is away when a program starts; the audit log then says for how long.

    Raises
    ------
    RegistryGone
        If it is away for longer than `GIVE_UP_S`.
    """
    away_s: list[float] = []
    registry = retry_while_away(lambda: Registry.open(url), recovered=away_s.append)
    for seconds in away_s:
        note_outage(registry, seconds, subject=subject, actor=actor)
    return registry


def note_outage(registry: Registry, seconds: float, *, subject: str, actor: str) -> None:
    """Write to the audit log that the database was away, also if it goes away again meanwhile."""
    retry_while_away(
        lambda: audit.write(registry, "registry.was-away", subject=subject, actor=actor, seconds=round(seconds, 1))
    )


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _gone(state: RetryCallState) -> None:
    error = _error_of(state)
    waited = f"gave up after {state.seconds_since_start or 0.0:.0f} s and {state.attempt_number} attempts"
    raise RegistryGone(f"{error}; {waited}") from error
