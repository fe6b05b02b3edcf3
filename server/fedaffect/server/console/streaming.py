"""Server-sent events: a feed as the stream of one watcher, until that may look no more or the server ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import StreamingResponse

from fedaffect.server.console.doors import Doors, Visitor
from fedaffect.server.console.feed import Event, Feed
from fedaffect.server.errors import Overloaded
from fedaffect.server.registry import RegistryUnavailable

_MOST: Final = 64
_LOOK_S: Final = 0.25
_HEARTBEAT_S: Final = 15.0
_CHECK_S: Final = 2.0
# How long a browser waits before it asks again, in milliseconds.
_AGAIN: Final = b"retry: 2000\n\n"
_ENDED: Final = Event("ended")
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Streams:
    """Streams to all watchers, bounded in number.

    Parameters
    ----------
    doors : Doors
    stopping : callable
        Whether the server ends.
    """

    def __init__(self, doors: Doors, stopping: Callable[[], bool]) -> None:
        self._doors = doors
        self._stopping = stopping
        self._open = 0

    def of(self, feed: Feed, visitor: Visitor, missed: Sequence[Event] = ()) -> StreamingResponse:
        """A feed as a stream.

        Parameters
        ----------
        feed : Feed
        visitor : Visitor
            Who watches.
        missed : sequence of Event
            What goes before all that happens from now on.

        Raises
        ------
        Overloaded
            If as many are open as may be.
        """
        if self._open >= _MOST:
            raise Overloaded(f"{_MOST} pages watch already; close one, or try again in a minute", 60.0)
        return StreamingResponse(
            self._lines(feed, visitor, missed), media_type="text/event-stream", headers=dict(_HEADERS)
        )

    async def _lines(self, feed: Feed, visitor: Visitor, missed: Sequence[Event]) -> AsyncIterator[bytes]:
        self._open += 1
        try:
            async with feed.watching() as queue:
                yield _AGAIN + Event("open").encoded()
                sent = -1
                for event in missed:
                    sent = event.id if event.id is not None else sent
                    yield event.encoded()
                said_s = checked_s = time.monotonic()
                while not self._stopping():
                    now_s = time.monotonic()
                    if now_s - checked_s > _CHECK_S:
                        checked_s = now_s
                        if not await self._still_in(visitor):
                            yield _ENDED.encoded()
                            return
                    try:
                        event = await asyncio.wait_for(queue.get(), _LOOK_S)
                    except TimeoutError:
                        if now_s - said_s > _HEARTBEAT_S:
                            said_s = now_s
                            yield b":\n\n"
                        continue
                    if event.id is not None and event.id <= sent:
                        continue
                    said_s = now_s
                    yield event.encoded()
        finally:
            self._open -= 1

    async def _still_in(self, visitor: Visitor) -> bool:
        try:
            return await self._doors.still_in(visitor)
        except RegistryUnavailable:
            # It says nothing about anybody while it is away.
            return True


def last_event(request: Request) -> int | None:
    """The newest event that a watcher had before; None where it says none."""
    said = request.headers.get("last-event-id", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) <= 18 else None
