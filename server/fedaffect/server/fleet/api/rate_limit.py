"""How often the service listens to whom it does not know: enrolments, and requests that it refuses.

What an enrolled device signed or the operator sent is never counted, so that nobody who shares an address with a
stranger is kept out by them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

from fedaffect.server.fleet.errors import TooOften
from fedaffect.server.token_bucket import TokenBucket

# Addresses that are told apart; of more than that, the longest silent are taken for new.
_ADDRESSES: Final = 10_000


class Strangers:
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
        self._of: OrderedDict[str, TokenBucket] = OrderedDict()
        self._lock = threading.Lock()

    def listen(self, address: str) -> None:
        """Count one request.

        Raises
        ------
        TooOften
            If it is one too many; it costs nothing then.
        """
        own = self._bucket(_network(address))
        wait_s = own.wait_s() or self._all.take() or own.take()
        if wait_s:
            raise TooOften(f"too many requests from strangers; try again in {math.ceil(wait_s)} s", math.ceil(wait_s))

    def _bucket(self, network: str) -> TokenBucket:
        with self._lock:
            bucket = self._of.pop(network, None) or TokenBucket(self._per_minute, clock=self._clock)
            self._of[network] = bucket
            if len(self._of) > _ADDRESSES:
                self._of.popitem(last=False)
            return bucket


def _network(address: str) -> str:
    """What one caller has for itself: of IPv6 a whole /64."""
    try:
        known = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Address(int(known) >> 64 << 64)) if isinstance(known, IPv6Address) else address
