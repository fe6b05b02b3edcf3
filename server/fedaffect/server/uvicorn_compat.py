"""uvicorn where its public settings do not reach: beside another transport, and against unauthenticated callers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_S: Final = 15.0
# As much as uvicorn allows with its other parser.
_LARGEST_HEAD: Final = 64 * 1024
_STARTED_S: Final = 0.01


class EmbeddedServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has another transport to drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until ``should_exit``."""
        await self._serve(sockets)

    async def wait_started(self) -> None:
        """Wait until it takes connections."""
        while not self.started:
            await asyncio.sleep(_STARTED_S)


class BoundedHeadProtocol(HttpToolsProtocol):
    """HTTP/1.1 that bounds the time and the size of a request's head, and does not hang up on who has said all.

    A few thousand connections on which no request begins would take every descriptor, and a head that does not end
    would take the memory. And a caller that closes its sending side after the request still wants the answer.
    """

    _waiting: asyncio.TimerHandle | None = None
    # Bytes of a head that has not ended; None while a body is read.
    _head_bytes: int | None = 0

    def data_received(self, data: bytes) -> None:
        if self._head_bytes is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if (self._head_bytes or 0) > _LARGEST_HEAD and not self.transport.is_closing():
            self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def on_message_begin(self) -> None:
        self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the sending side open where an answer is due; over TLS there is no closing one side."""
        cycle = self.cycle
        due = cycle is not None and not cycle.response_complete and not cycle.more_body
        if not due or self.scheme == "https":
            return False
        cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(_HEAD_S, self._hang_up)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
