"""uvicorn where its public settings do not reach: beside another transport, and against unauthenticated callers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_S: Final = 15.0
# As much as uvicorn allows with its other parser.
_LARGEST_HEAD: Final = 64 * 1024
_STARTED_S: Final = 0.01
# Of a body: so many seconds, and one more for each so many bytes that came.
_BODY_S: Final = 30.0
_SLOWEST_BYTES_A_S: Final = 10_000


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
    _trailer_bytes: int = 0

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
        self._trailer_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # Behind a body in pieces further headers may come, and would be kept without end.
        if self._head_bytes is None:
            self._trailer_bytes += len(name) + len(value)
            if self._trailer_bytes > _LARGEST_HEAD:
                self.transport.abort()
                return
        super().on_header(name, value)

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
        # Over TLS, closing waits for the other side to say goodbye.
        if self.scheme == "https":
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.close()


class BoundedBodyProtocol(BoundedHeadProtocol):
    """Bounds the time of a body too, for apps that read all of it at once: some seconds, and more as more comes."""

    _due: float | None = None

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._due = self.loop.time() + _BODY_S
        self._look_at_body()

    def data_received(self, data: bytes) -> None:
        if self._due is not None:
            self._due += len(data) / _SLOWEST_BYTES_A_S
        super().data_received(data)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._due = None
        self._stop_waiting()

    def _look_at_body(self) -> None:
        if self._due is None:
            return
        if self.loop.time() >= self._due:
            self._hang_up()
        else:
            self._stop_waiting()
            self._waiting = self.loop.call_at(self._due, self._look_at_body)


class BoundedServer(uvicorn.Server):
    """uvicorn that gives a TLS handshake as long as a request's head.

    Parameters
    ----------
    config : uvicorn.Config
    ends : callable, optional
        Told when it ends, before it waits for requests that are still served.
    """

    def __init__(self, config: uvicorn.Config, ends: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._ends = ends

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start."""
        loop: Any = asyncio.get_running_loop()
        loop.create_server = partial(loop.create_server, ssl_handshake_timeout=_HEAD_S)
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._ends()
        await super().shutdown(sockets)
