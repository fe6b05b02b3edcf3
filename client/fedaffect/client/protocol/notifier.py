"""Says across threads that something happened; event loops wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Collection


class Notifier:
    """Counts what happened, to some or to all; any thread may notify, and event loops wait.

    Those to whom something happens are numbers. Who waits without one is told of everything.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int | None, dict[asyncio.Event, asyncio.AbstractEventLoop]] = {}
        self._closed = False
        self._everything = 0
        self._to_all = 0
        self._to_each: Counter[int] = Counter()

    def count(self, who: int | None = None) -> int:
        """How often something happened to one; without a number, how often at all."""
        return self._everything if who is None else self._to_all + self._to_each[who]

    def notify(self, whom: Collection[int] | None = None) -> None:
        """Something happened now, to these or to all."""
        with self._lock:
            self._everything += 1
            if whom is None:
                self._to_all += 1
                told = list(self._waiting.values())
            else:
                self._to_each.update(set(whom))
                told = [self._waiting[each] for each in {None, *whom} if each in self._waiting]
            waiting = [pair for each in told for pair in each.items()]
        for event, loop in waiting:
            # A loop that is over has nobody waiting.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Nobody waits from now on: the server ends, and must not wait for those who do."""
        self._closed = True
        self.notify()

    async def after(self, count: int, who: int | None = None) -> None:
        """Wait until more than ``count`` things have happened, as :meth:`count` counts them."""
        event = asyncio.Event()
        with self._lock:
            if self.count(who) > count or self._closed:
                return
            self._waiting.setdefault(who, {})[event] = asyncio.get_running_loop()
        try:
            await event.wait()
        finally:
            with self._lock:
                del self._waiting[who][event]
                if not self._waiting[who]:
                    del self._waiting[who]
