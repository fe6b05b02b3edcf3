"""uvicorn as a server that is one of two transports needs it: what its public settings do not reach."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_S: Final = 15.0
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


class ImpatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 that waits neither for ever for a request's head, nor hangs up on who has said all.

    A few thousand connections on which no request begins would take every descriptor. And a caller that closes its
    sending side after the request still wants the answer.
    """

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def on_message_begin(self) -> None:
        self._wait_for_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

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
