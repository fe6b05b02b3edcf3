"""Questions that wait at the server until there is something to answer, instead of being asked again and again.

Flower's programs ask each other for messages and tasks in fixed intervals. Each look costs a request in two processes,
and between two looks what has come lies there. Here whoever was answered "nothing" and asks again is answered when
something came, or after some seconds. A question reaches Flower once, when its turn has come: signatures, nonces and
revoked keys are checked then, as ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaffect.edge.errors import ConfigError

# Who was told "nothing" lately; a device whose place was taken is answered at once, which is no harm.
_REMEMBERED: Final = 4096
_OK: Final = 200


class Arrivals:
    """Counts what came; any thread may say that something did, and event loops wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._closed = False
        self.count = 0

    def came(self) -> None:
        """Something is there now."""
        with self._lock:
            self.count += 1
            waiting = dict(self._waiting)
        for event, loop in waiting.items():
            # A loop that is over has nobody waiting.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        """Nobody waits any more: the server ends, and must not wait for those who do."""
        self._closed = True
        self.came()

    async def after(self, count: int) -> None:
        """Wait until more than so many came."""
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


@dataclass(frozen=True, slots=True)
class Held:
    """How questions of one kind wait.

    Parameters
    ----------
    arrivals : Arrivals
        What they wait for.
    longest_s : float
        Below what those who ask wait for an answer.
    asker : str
        Header that tells one who asks from another; empty where there is only one.
    """

    arrivals: Arrivals
    longest_s: float
    asker: str = ""

    def __post_init__(self) -> None:
        if self.longest_s <= 0:
            raise ConfigError("a question that is held must be held for some time; longest_s must be positive")


class Holding:
    """Holds questions of which the last was answered with nothing: protobuf that has no field has no bytes.

    Parameters
    ----------
    app : ASGI app
    held : mapping of str to Held
        By path.
    told : mapping of str to callable, optional
        Called when a request to this path was answered.
    """

    def __init__(
        self, app: ASGIApp, held: Mapping[str, Held], told: Mapping[str, Callable[[], None]] | None = None
    ) -> None:
        self._app = app
        self._held = held
        self._told = told or {}
        self._nothing: OrderedDict[bytes, int] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path in self._told:
            await self._app(scope, receive, send)
            self._told[path]()
        elif path in self._held:
            await self._hold(self._held[path], scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _hold(self, held: Held, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        who = _asker(scope, held.asker, body)
        if body is None or not await self._waited(held, who, receive):
            # Whoever hung up must not be given a message.
            return
        count = held.arrivals.count
        status, length = 0, 0

        async def watched(message: Message) -> None:
            nonlocal status, length
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                length += len(message.get("body", b""))
            await send(message)

        await self._app(scope, _again(body, receive), watched)
        self._nothing.pop(who, None)
        if status == _OK and not length:
            self._nothing[who] = count
            while len(self._nothing) > _REMEMBERED:
                self._nothing.popitem(last=False)

    async def _waited(self, held: Held, who: bytes, receive: Receive) -> bool:
        """Whether who asks is still there once the wait is over."""
        told_at = self._nothing.get(who)
        if told_at is None:
            return True
        arrived = asyncio.ensure_future(held.arrivals.after(told_at))
        gone = asyncio.ensure_future(_hung_up(receive))
        try:
            await asyncio.wait((arrived, gone), timeout=held.longest_s, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            for task in (arrived, gone):
                task.cancel()
            await asyncio.gather(arrived, gone, return_exceptions=True)


async def _body(receive: Receive) -> bytes | None:
    """A request's body; None where it never came whole."""
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        data += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(data)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives an app the body that was read already."""
    first = True

    async def replayed() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


def _asker(scope: Scope, header: str, body: bytes | None) -> bytes:
    """The same for the same question of the same asker."""
    name = header.lower().encode()
    said = next((value for key, value in scope["headers"] if key == name), b"") if name else b""
    return hashlib.sha256(b"\0".join((scope["path"].encode(), said, body or b""))).digest()
