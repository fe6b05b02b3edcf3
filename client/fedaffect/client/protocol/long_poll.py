"""Long polls: a request waits at the server until there is something to answer, instead of being repeated.

Flower's programs ask each other for messages and tasks in fixed intervals. Each request costs time in two processes,
and between two requests a message waits. Here a caller that was answered "nothing" and asks again is answered when
something came, or after some seconds. The request reaches the app once, when its wait is over, so that signatures,
nonces and revoked keys are checked then. Where callers are checked before they come here, some waits in a row that
ended without anything may be answered as the last one was, and the app is not asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from cachetools import FIFOCache
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaffect.client.protocol.notifier import Notifier
from fedaffect.edge.errors import ConfigError

# Callers that were told "nothing" lately; one whose place was taken is answered at once, which does no harm.
_REMEMBERED: Final = 4096
_OK: Final = 200

# Told the bodies of a request that was answered with success, and of its answer.
Answered: TypeAlias = Callable[[bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class LongPoll:
    """How requests of one path wait.

    Parameters
    ----------
    notifier : Notifier
        Ends the wait.
    longest_s : float
        Below what callers wait for an answer.
    caller_header : str
        Header that tells one caller from another; empty where there is only one.
    waits : int
        The app is asked after so many waits of a caller in which nothing happened.
    who : callable of bytes, optional
        The caller's number with the notifier, from the request's body; None where it is told of everything.
    """

    notifier: Notifier
    longest_s: float
    caller_header: str = ""
    waits: int = 1
    who: Callable[[bytes], int | None] = lambda _: None

    def __post_init__(self) -> None:
        if self.longest_s <= 0:
            raise ConfigError("a long poll must wait for some time; longest_s must be positive")


@dataclass(frozen=True, slots=True)
class _Nothing:
    """What had happened when a caller was told "nothing", how, and after how many waits that the app knows not of."""

    count: int
    headers: Sequence[tuple[bytes, bytes]]
    waits: int = 0


class LongPolling:
    """Holds requests of callers whose last one was answered with no bytes: protobuf without a field has none.

    Parameters
    ----------
    app : ASGI app
    polls : mapping of str to LongPoll
        By path.
    answered : mapping of str to callable, optional
        By path; called before the end of an answer with success leaves.
    """

    def __init__(
        self, app: ASGIApp, polls: Mapping[str, LongPoll], answered: Mapping[str, Answered] | None = None
    ) -> None:
        self._app = app
        self._polls = polls
        self._answered = answered or {}
        self._nothing: FIFOCache[bytes, _Nothing] = FIFOCache(_REMEMBERED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path in self._answered:
            await self._pass_on(self._answered[path], scope, receive, send)
        elif path in self._polls:
            await self._hold(self._polls[path], scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _pass_on(self, answered: Answered, scope: Scope, receive: Receive, send: Send) -> None:
        body = await request_body(receive)
        if body is None:
            return
        status, answer = 0, bytearray()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                answer.extend(message.get("body", b""))
                # Before the caller has the whole answer, and goes on from it.
                if status == _OK and not message.get("more_body", False):
                    answered(body, bytes(answer))
            await send(message)

        await self._app(scope, replayed(body, receive), watched)

    async def _hold(self, poll: LongPoll, scope: Scope, receive: Receive, send: Send) -> None:
        body = await request_body(receive)
        if body is None:
            return
        caller, who = _caller(scope, poll.caller_header, body), poll.who(body)
        told = self._nothing.get(caller)
        if told is not None:
            if not await _waited(poll, told.count, who, receive):
                # A caller that hung up must not be given a message.
                return
            if poll.notifier.count(who) == told.count and told.waits + 1 < poll.waits:
                self._nothing[caller] = replace(told, waits=told.waits + 1)
                await send({"type": "http.response.start", "status": _OK, "headers": list(told.headers)})
                await send({"type": "http.response.body", "body": b""})
                return
        count = poll.notifier.count(who)
        status, length, headers = 0, 0, list[tuple[bytes, bytes]]()

        async def watched(message: Message) -> None:
            nonlocal status, length, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message.get("headers", ()))
            else:
                length += len(message.get("body", b""))
                # Before the caller has the whole answer, and asks again.
                if not message.get("more_body", False):
                    self._nothing.pop(caller, None)
                    if status == _OK and not length:
                        self._nothing[caller] = _Nothing(count, headers)
            await send(message)

        await self._app(scope, replayed(body, receive), watched)


async def _waited(poll: LongPoll, count: int, who: int | None, receive: Receive) -> bool:
    """Whether the caller is still there once the wait is over."""
    notified = asyncio.ensure_future(poll.notifier.after(count, who))
    gone = asyncio.ensure_future(hung_up(receive))
    try:
        await asyncio.wait((notified, gone), timeout=poll.longest_s, return_when=asyncio.FIRST_COMPLETED)
        return not gone.done()
    finally:
        for task in (notified, gone):
            task.cancel()
        await asyncio.gather(notified, gone, return_exceptions=True)


async def hung_up(receive: Receive) -> None:
    """Return once the caller is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def request_body(receive: Receive) -> bytes | None:
    """A request's body; None where the caller hung up before its end."""
    data = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        data += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(data)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives an app the body that was read already."""
    first = True

    async def replayed() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


def _caller(scope: Scope, header: str, body: bytes) -> bytes:
    """The same for the same request of the same caller."""
    name = header.lower().encode()
    said = next((value for key, value in scope["headers"] if key == name), b"") if name else b""
    return hashlib.sha256(b"\0".join((scope["path"].encode(), said, body))).digest()
