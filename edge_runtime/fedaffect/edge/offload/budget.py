"""How many calls and bytes a minute may go to the cloud."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from fedaffect.edge.errors import ConfigError

WINDOW_S: Final = 60.0
# Calls within this time share one entry, so that the log stays short however many calls a minute allows.
_SLOT_S = 0.5


class Budget:
    """Calls and bytes that were spent in the last minute, against what a minute allows.

    No minute, wherever it begins, ever holds more than the limits: a token bucket that fills while nothing is sent
    would allow twice as much. Calls half a second apart share an entry, which expires with the last of them.
    One thread at a time; `OffloadPolicy` holds the lock.

    Parameters
    ----------
    calls_per_minute, bytes_per_minute : int, optional
        The limits; None for no limit, 0 for no calls at all.
    clock : callable
        Seconds that never go back.

    Raises
    ------
    ConfigError
        If a limit is below 0.
    """

    def __init__(
        self,
        calls_per_minute: int | None = None,
        bytes_per_minute: int | None = None,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        for name, limit in (("calls", calls_per_minute), ("bytes", bytes_per_minute)):
            if limit is not None and limit < 0:
                raise ConfigError(f"{limit} {name} a minute make no sense; give 0 or more, or None for no limit")
        self._max_calls, self._max_bytes, self._clock = calls_per_minute, bytes_per_minute, clock
        self._log: deque[tuple[float, float, int, int]] = deque()  # (first, last, calls, bytes), oldest first
        self._calls = self._bytes = 0

    def spent(self) -> tuple[int, int]:
        """Calls and bytes of the last minute."""
        self._expire()
        return self._calls, self._bytes

    def shortage(self, request_bytes: int) -> str | None:
        """What is missing for one more call of that size, as a clause; None where it fits.

        Parameters
        ----------
        request_bytes : int
            Size of the request.
        """
        self._expire()
        if self._max_calls is not None and self._calls + 1 > self._max_calls:
            return f"{self._calls} of {self._max_calls} calls a minute are spent"
        if self._max_bytes is not None and self._bytes + request_bytes > self._max_bytes:
            return (
                f"{request_bytes:,} bytes do not fit into what is left of {self._max_bytes:,} a minute, "
                f"{self._bytes:,} of which are spent"
            )
        return None

    def take(self, request_bytes: int) -> bool:
        """Spend one call of that size; False, and nothing spent, where it does not fit.

        Parameters
        ----------
        request_bytes : int
            Size of the request.

        Raises
        ------
        ConfigError
            If the size is below 0.
        """
        if request_bytes < 0:
            raise ConfigError(f"a request has 0 bytes or more, not {request_bytes}")
        if self.shortage(request_bytes) is not None:
            return False
        now = self._clock()
        first, calls, size = now, 1, request_bytes
        if self._log and now - self._log[-1][0] < _SLOT_S:
            first, _, calls, size = self._log.pop()
            calls, size = calls + 1, size + request_bytes
        self._log.append((first, now, calls, size))
        self._calls += 1
        self._bytes += request_bytes
        return True

    def _expire(self) -> None:
        # Kept while its age is below a minute: two calls exactly a minute apart are not within one.
        while self._log and self._clock() - self._log[0][1] >= WINDOW_S:
            _, _, calls, size = self._log.popleft()
            self._calls -= calls
            self._bytes -= size
