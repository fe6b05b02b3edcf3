"""A quantile of what was measured lately."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Callable
from time import monotonic

from fedaffect.edge.errors import ConfigError


class RunningQuantile:
    """Quantile over the last values that are young enough, in a window of bounded size.

    A window rather than P² (Jain and Chlamtac, 1985): it forgets. A device that left the Wi-Fi would else judge the
    mobile network by what it measured at home. And it must forget by age too, because an estimate that is above every
    deadline lets no call through, so no new value would ever correct it.

    Cold start: with fewer than ``least`` values, the estimate is the largest of these and of ``expected``.
    One thread at a time; `OffloadPolicy` holds the lock.

    Parameters
    ----------
    quantile : float
        In (0, 1].
    expected : float
        What to assume before anything was measured.
    window : int
        Values kept at most.
    least : int
        Values from which the quantile is taken instead of assumed.
    max_age_s : float
        Older values are forgotten.
    clock : callable
        Seconds that never go back.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    def __init__(
        self,
        quantile: float = 0.9,
        *,
        expected: float,
        window: int = 128,
        least: int = 5,
        max_age_s: float = 300.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if not 0 < quantile <= 1:
            raise ConfigError(f"a quantile lies in (0, 1], not at {quantile}; 0.9 is usual")
        if not (math.isfinite(expected) and expected >= 0):
            raise ConfigError(f"the value expected before measuring is a number of 0 or more, not {expected}")
        if not 1 <= least <= window:
            raise ConfigError(f"a window of {window} values cannot wait for {least}; choose 1 <= least <= window")
        if not max_age_s > 0:
            raise ConfigError(f"values are kept for more than 0 seconds, not {max_age_s}")
        self._quantile, self._expected, self._least = quantile, expected, least
        self._window, self._max_age_s, self._clock = window, max_age_s, clock
        self._by_age: deque[tuple[float, float]] = deque()  # (when, value), oldest first
        self._sorted: list[float] = []

    def __len__(self) -> int:
        self._forget()
        return len(self._sorted)

    def add(self, value: float) -> None:
        """Count a measured value.

        Raises
        ------
        ConfigError
            If it is not a finite number of 0 or more.
        """
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"a measured value is a number of 0 or more, not {value}; measure with a monotonic clock")
        self._forget()
        if len(self._by_age) == self._window:
            self._drop_oldest()
        self._by_age.append((self._clock(), value))
        insort(self._sorted, value)

    def value(self) -> float:
        """The quantile now: the smallest kept value that at least that share of all kept values does not exceed."""
        self._forget()
        if len(self._sorted) < self._least:
            return max([self._expected, *self._sorted[-1:]])
        # The small term keeps 0.9 x 10 = 9.000000000000002 from being rounded up to 10.
        return self._sorted[math.ceil(self._quantile * len(self._sorted) - 1e-9) - 1]

    def _forget(self) -> None:
        oldest = self._clock() - self._max_age_s
        while self._by_age and self._by_age[0][0] < oldest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._sorted.remove(self._by_age.popleft()[1])
