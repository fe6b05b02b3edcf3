"""Says across threads that something happened; event loops wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Notifier:
    """Counts what happened; any thread may notify, and event loops wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._closed = False
        self.count = 0

    def notify(self) -> None:
        """Something happened now."""
        with self._lock:
            self.count += 1
            waiting = dict(self._waiting)
        for event, loop in waiting.items():
            # A loop that is over has nobody waiting.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Nobody waits from now on: the server ends, and must not wait for those who do."""
        self._closed = True
        self.notify()

    async def after(self, count: int) -> None:
        """Wait until more than ``count`` things have happened."""
        event = asyncio.Event()
        with self._lock:
            if self.count > count or self._closed:
                return
            self._waiting[event] = asyncio.get_running_loop()
        try:
            await event.wait()
        finally:
            with self._lock:
                del self._waiting[event]
