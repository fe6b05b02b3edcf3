"""Deadlines, and trying again within them: exponential back-off with full jitter."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fedaffect.edge.cloud.errors import CloudBusy, CloudTimeout, CloudUnreachable
from fedaffect.edge.errors import ConfigError

Result = TypeVar("Result")


class Deadline:
    """A moment by which everything must have ended.

    Parameters
    ----------
    milliseconds : float
        From now.
    clock : callable
        Seconds that never go backwards.

    Raises
    ------
    ConfigError
        If it is not finite.
    """

    def __init__(self, milliseconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        if not math.isfinite(milliseconds):
            raise ConfigError(f"a deadline must be finite, not {milliseconds} ms")
        self._clock = clock
        self.milliseconds = milliseconds
        self._end_s = clock() + milliseconds / 1000.0

    @property
    def left_s(self) -> float:
        """Seconds left; below 0 once it has passed."""
        return self._end_s - self._clock()

    @property
    def spent_ms(self) -> float:
        """Milliseconds since it was set."""
        return self.milliseconds - 1000.0 * self.left_s

    def check(self) -> float:
        """Seconds left.

        Raises
        ------
        CloudTimeout
            If there are none.
        """
        left_s = self.left_s
        if left_s <= 0:
            raise self.passed()
        return left_s

    def passed(self) -> CloudTimeout:
        """The error that says so."""
        return CloudTimeout(f"the cloud did not answer within {self.milliseconds:.0f} ms; allow more, or stay local")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next attempt.

    Full jitter: the wait is drawn uniformly between 0 and ``base_s * 2 ** n``, so that devices that lost the cloud
    together do not come back together (Brooker, "Exponential backoff and jitter", 2015).

    Parameters
    ----------
    base_s : float
        Upper bound of the first wait.
    cap_s : float
        Upper bound of any.
    attempts : int
        In all, the first one included.
    """

    base_s: float = 0.1
    cap_s: float = 5.0
    attempts: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.base_s <= self.cap_s < math.inf or self.attempts < 1:
            raise ConfigError(f"{self} makes no sense; want 0 < base_s <= cap_s and at least one attempt")

    def wait_s(self, failures: int, draw: Callable[[], float] = random.random) -> float:
        """Seconds to wait after so many failures, 1 or more.

        Parameters
        ----------
        failures : int
            Attempts that failed so far.
        draw : callable
            Uniform in [0, 1).
        """
        # The exponent is bounded because 2 ** 1100 is no float.
        return draw() * min(self.cap_s, self.base_s * 2.0 ** min(failures - 1, 60))


def retried(
    attempt: Callable[[], Result],
    deadline: Deadline,
    backoff: Backoff,
    *,
    sleep: Callable[[float], None] = time.sleep,
    draw: Callable[[], float] = random.random,
) -> Result:
    """Call until it succeeds, as long as the failure may pass and the deadline allows.

    Only for what the other side takes once however often it comes. Retried are `CloudUnreachable` and `CloudBusy`,
    the latter never before the cloud wants to be asked again.

    Parameters
    ----------
    attempt : callable
        One attempt; keeps to the deadline itself.
    deadline : Deadline
        For all attempts together.
    backoff : Backoff
    sleep, draw : callable
        For tests.

    Raises
    ------
    CloudError
        What the last attempt raised, as soon as no further one can be made in time.
    """
    failures = 0
    while True:
        deadline.check()
        try:
            return attempt()
        except (CloudUnreachable, CloudBusy) as error:
            failures += 1
            wait_s = backoff.wait_s(failures, draw)
            if isinstance(error, CloudBusy):
                wait_s += error.retry_after_s
            if failures >= backoff.attempts or wait_s >= deadline.left_s:
                raise
            sleep(wait_s)


def seconds_of(value: str | bytes) -> float:
    """Seconds of a ``Retry-After``; 0 where it is none (dates need clocks that agree)."""
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return seconds if 0.0 <= seconds < 86_400.0 else 0.0
