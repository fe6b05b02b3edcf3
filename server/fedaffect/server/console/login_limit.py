"""How often a password may be guessed: by address, by account, and by account from one address."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from fedaffect.server.errors import Overloaded
from fedaffect.server.fleet.callers import network_of

# Guesses before one must wait: of one account from one address, from one address, of one account from anywhere. The
# last is high, as it lets strangers keep its owner out.
_FREE: Final = {"pair": 5, "address": 20, "account": 100}
_LONGEST_S: Final = 900.0
_REMEMBERED: Final = 20_000


@dataclass(slots=True)
class _Tries:
    count: int = 0
    until_s: float = 0.0


class LoginLimit:
    """Counts wrong guesses. Beyond the free ones each doubles the wait, from a second to a quarter of an hour.

    Names of accounts that do not exist are counted like others, so that a refusal tells nothing.

    Parameters
    ----------
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: LRUCache[tuple[str, str], _Tries] = LRUCache(_REMEMBERED)
        self._lock = threading.Lock()

    @contextmanager
    def guess(self, name: str, address: str) -> Iterator[Callable[[], None]]:
        """A guess, which counts as wrong unless what is yielded is called.

        It counts before it is looked at, so that many at once are no way around.

        Raises
        ------
        Overloaded
            If the next one has to wait.
        """
        network = network_of(address)
        keys = (("pair", f"{network} {name}"), ("address", network), ("account", name))
        right = False

        def was_right() -> None:
            nonlocal right
            right = True

        with self._lock:
            self._require_no_wait(keys)
            for key in keys:
                self._count(key)
        yield was_right
        if right:
            with self._lock:
                for key in keys:
                    self._take_back(key, all_of_them=key[0] == "pair")

    def _require_no_wait(self, keys: tuple[tuple[str, str], ...]) -> None:
        now_s = self._clock()
        wait_s = max(self._tries[key].until_s - now_s if key in self._tries else 0.0 for key in keys)
        if wait_s > 0:
            raise Overloaded(f"too many logins were refused; try again in {math.ceil(wait_s)} s", wait_s)

    def _count(self, key: tuple[str, str]) -> None:
        tries = self._tries.setdefault(key, _Tries())
        now_s = self._clock()
        if tries.until_s and now_s - tries.until_s > _LONGEST_S:
            # Long ago; it may begin anew.
            tries.count = 0
        tries.count += 1
        beyond = tries.count - _FREE[key[0]]
        tries.until_s = now_s + (min(_LONGEST_S, 2.0 ** min(beyond, 20)) if beyond >= 0 else 0.0)

    def _take_back(self, key: tuple[str, str], *, all_of_them: bool) -> None:
        if (tries := self._tries.get(key)) is not None:
            tries.count = 0 if all_of_them else max(0, tries.count - 1)
            tries.until_s = 0.0 if tries.count < _FREE[key[0]] else tries.until_s
