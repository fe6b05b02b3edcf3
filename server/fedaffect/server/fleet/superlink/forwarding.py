"""Passes requests on to an HTTP server at a Unix socket, over connections that stay open."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpcore
from starlette.types import Receive, Scope, Send

from fedaffect.client.protocol.long_poll import hung_up, request_body
from fedaffect.server.fleet.setup.private_socket import short_path

# Of one connection, not of the message that it carries (RFC 9110, section 7.6.1); what is sent says its own.
_HOP: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"))
_UNAVAILABLE: Final = 503
# Below the time after which the server closes a connection that nobody uses.
_IDLE_S: Final = 30.0
_TIMEOUTS: Final = {"connect": 5.0, "write": 30.0, "read": None, "pool": None}
_ERRORS: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
_ORIGIN: Final = httpcore.Origin(b"http", b"superlink", 80)


class Forwarder:
    """An ASGI app that is another server's.

    Parameters
    ----------
    socket_path : Path
        Where the server listens.
    """

    def __init__(self, socket_path: Path) -> None:
        self._connections = Connections(short_path(socket_path))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; 503 where the server is away, which Flower's clients try again."""
        body = await request_body(receive)
        if body is None:
            return
        forwarded = asyncio.ensure_future(self._forward(scope, body, send))
        gone = asyncio.ensure_future(hung_up(receive))
        try:
            # A stream of log lines has no end of its own.
            await asyncio.wait((forwarded, gone), return_when=asyncio.FIRST_COMPLETED)
            if forwarded.done():
                forwarded.result()
        finally:
            for task in (forwarded, gone):
                task.cancel()
            await asyncio.gather(forwarded, gone, return_exceptions=True)

    async def _forward(self, scope: Scope, body: bytes, send: Send) -> None:
        query: bytes = scope["query_string"]
        # As it came: the server must read the same path as the gate has.
        target = scope["raw_path"] + (b"?" + query if query else b"")
        request = httpcore.Request(
            scope["method"],
            httpcore.URL(scheme=_ORIGIN.scheme, host=_ORIGIN.host, port=None, target=target),
            headers=_end_to_end(scope["headers"]),
            content=body,
            extensions={"timeout": _TIMEOUTS},
        )
        async with self._connections.one() as connection:
            try:
                response = await connection.handle_async_request(request)
            except _ERRORS:
                await send({"type": "http.response.start", "status": _UNAVAILABLE, "headers": []})
                said = b"the SuperLink does not answer; it may be starting"
                await send({"type": "http.response.body", "body": said})
                return
            try:
                headers = _end_to_end(response.headers)
                await send({"type": "http.response.start", "status": response.status, "headers": headers})
                async for chunk in response.aiter_stream():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                await response.aclose()


class Connections:
    """Connections to a Unix socket, each of one request at a time, kept while they are used now and then.

    httpcore's own pool looks at all its connections, and for each at all others, whenever one is taken or given back:
    with a hundred devices this took more time than everything else that the gate does.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self._path = path
        # The one used last at the end, each with the moment.
        self._idle: deque[tuple[float, httpcore.AsyncHTTPConnection]] = deque()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """A connection that nobody else has meanwhile."""
        connection = await self._taken()
        try:
            yield connection
        finally:
            if connection.is_idle() and not connection.is_closed():
                self._idle.append((time.monotonic(), connection))
            else:
                await connection.aclose()

    async def _taken(self) -> httpcore.AsyncHTTPConnection:
        """The connection used last, if the server has not closed it; those unused for long are closed."""
        while self._idle and time.monotonic() - self._idle[0][0] > _IDLE_S:
            await self._idle.popleft()[1].aclose()
        while self._idle:
            _, connection = self._idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(_ORIGIN, uds=self._path, keepalive_expiry=_IDLE_S)


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in _HOP]
