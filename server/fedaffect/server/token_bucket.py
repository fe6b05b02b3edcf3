"""How often: a bucket that holds a minute's requests and fills at their rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Full at first: a minute's requests may come at once, then one every ``60 / per_minute`` seconds.

    Parameters
    ----------
    per_minute : int
        Positive.
    clock : callable
        Seconds, monotonic.
    """

    __slots__ = ("_capacity", "_clock", "_filled_s", "_lock", "_tokens")

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._tokens = self._capacity
        self._clock = clock
        self._filled_s = clock()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take one; 0.0 if there was one, else the seconds until there is, and nothing is taken."""
        with self._lock:
            wait_s = self._fill()
            if wait_s == 0.0:
                self._tokens -= 1.0
            return wait_s

    def wait_s(self) -> float:
        """Seconds until there is one."""
        with self._lock:
            return self._fill()

    def _fill(self) -> float:
        now_s = self._clock()
        rate = self._capacity / 60.0
        self._tokens = min(self._capacity, self._tokens + max(0.0, now_s - self._filled_s) * rate)
        self._filled_s = now_s
        # A hair less than one is one: sums of small steps never hit it exactly.
        return 0.0 if self._tokens >= 1.0 - 1e-9 else (1.0 - self._tokens) / rate
