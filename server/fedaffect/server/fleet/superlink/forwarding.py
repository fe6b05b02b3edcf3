"""Passes requests on to an HTTP server at a Unix socket, over connections that stay open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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


class Forwarder:
    """An ASGI app that is another server's.

    Parameters
    ----------
    socket_path : Path
        Where the server listens.
    """

    def __init__(self, socket_path: Path) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            uds=short_path(socket_path), max_connections=None, keepalive_expiry=_IDLE_S
        )

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
            httpcore.URL(scheme=b"http", host=b"superlink", port=None, target=target),
            headers=_end_to_end(scope["headers"]),
            content=body,
            extensions={"timeout": _TIMEOUTS},
        )
        try:
            response = await self._pool.handle_async_request(request)
        except _ERRORS:
            await send({"type": "http.response.start", "status": _UNAVAILABLE, "headers": []})
            await send({"type": "http.response.body", "body": b"the SuperLink does not answer; it may be starting"})
            return
        try:
            headers = _end_to_end(response.headers)
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            async for chunk in response.aiter_stream():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await response.aclose()


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name.lower() not in _HOP]
