"""Rate limit of unauthenticated callers: of enrolments, and of requests that are refused.

What an enrolled device signed or the operator sent is never counted, so that sharing an address with an unauthenticated
caller keeps nobody out.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

from cachetools import LRUCache

from fedaffect.server.fleet.errors import TooManyRequests
from fedaffect.server.token_bucket import TokenBucket

# Addresses that have a bucket of their own; beyond, the one unused for longest loses its bucket.
_ADDRESSES: Final = 10_000


class UnauthenticatedLimit:
    """A bucket for each address, and one for all of them.

    Parameters
    ----------
    per_minute, all_per_minute : int
        Requests from one address, and altogether. A minute's may come at once.
    clock : callable, optional
        Seconds, monotonic.
    """

    def __init__(self, per_minute: int, all_per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
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
        own = self._bucket(_network(address))
        wait_s = own.wait_s() or self._all.take() or own.take()
        if wait_s:
            seconds = math.ceil(wait_s)
            raise TooManyRequests(f"too many unauthenticated requests; try again in {seconds} s", seconds)

    def _bucket(self, network: str) -> TokenBucket:
        with self._lock:
            if network not in self._of:
                self._of[network] = TokenBucket(self._per_minute, clock=self._clock)
            return self._of[network]


def _network(address: str) -> str:
    """The addresses that one caller can choose from: of IPv6 a whole /64."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Address(int(known) >> 64 << 64)) if isinstance(known, IPv6Address) else address
