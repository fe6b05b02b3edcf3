"""Rate limits: of unauthenticated callers (enrolments, and requests that are refused), and of each enrolled device.

What an enrolled device signed or the operator sent is never counted for its address, so that sharing one with an
unauthenticated caller keeps nobody out.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

from cachetools import LRUCache

from fedaffect.server.fleet.callers import network_of
from fedaffect.server.fleet.errors import TooManyRequests
from fedaffect.server.token_bucket import TokenBucket

# Addresses that have a bucket of their own; beyond, the one unused for longest loses its bucket.
_ADDRESSES: Final = 10_000


class RateLimit:
    """A bucket for each address or device, and one for all of them.

    Parameters
    ----------
    per_minute, all_per_minute : int
        Requests from one address, and altogether. A minute's may come at once.
    what : str
        Names the requests in the error message.
    clock : callable, optional
        Seconds, monotonic.
    """

    def __init__(
        self,
        per_minute: int,
        all_per_minute: int,
        clock: Callable[[], float] = time.monotonic,
        what: str = "unauthenticated requests",
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._what = what
        self._all = TokenBucket(all_per_minute, clock=clock)
        self._of: LRUCache[str, TokenBucket] = LRUCache(_ADDRESSES)
        self._lock = threading.Lock()

    def count(self, address: str) -> None:
        """Count one request.

        Raises
        ------
        TooManyRequests
            If it is one too many; it is not counted then.
        """
        own = self._bucket(network_of(address))
        wait_s = own.wait_s() or self._all.take() or own.take()
        if wait_s:
            seconds = math.ceil(wait_s)
            raise TooManyRequests(f"too many {self._what}; try again in {seconds} s", seconds)

    def _bucket(self, network: str) -> TokenBucket:
        with self._lock:
            if network not in self._of:
                self._of[network] = TokenBucket(self._per_minute, clock=self._clock)
            return self._of[network]
