"""A listening socket that bounds connections, each caller's and all together, before TLS costs anything."""

from __future__ import annotations

import resource
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from fedaffect.server.fleet.callers import network_of

# Beyond, the system lets further callers wait.
_BACKLOG: Final = 2048


class BoundedListener(socket.socket):
    """Closes a connection at once that is one too many.

    Parameters
    ----------
    host : str
        Address or name to listen at.
    port : int
        0 for any.
    per_address, in_all : int
        Open connections of one caller (an address; of IPv6 a /64), and of all.
    """

    def __init__(self, host: str, port: int, per_address: int, in_all: int) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        super().__init__(family, kind, protocol)
        self._per_address, self._in_all = per_address, in_all
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.bind(address)
        self.listen(_BACKLOG)

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; ConnectionAbortedError for one that was closed, after which asyncio asks again."""
        accepted, address = super().accept()
        descriptor = accepted.detach()
        caller = network_of(str(address[0]))
        with self._lock:
            full = self._held[caller] >= self._per_address or self._held.total() >= self._in_all
            if not full:
                self._held[caller] += 1
        if full:
            socket.close(descriptor)
            raise ConnectionAbortedError("one connection too many")
        return _Counted(self.family, self.type, self.proto, descriptor, lambda: self._forget(caller)), address

    def _forget(self, caller: str) -> None:
        with self._lock:
            self._held[caller] -= 1
            if self._held[caller] <= 0:
                del self._held[caller]


def allow_descriptors() -> None:
    """Let this process open as many files as the system lets it: the usual limit is below a fleet's connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Counted(socket.socket):
    def __init__(self, family: int, kind: int, protocol: int, descriptor: int, closed: Callable[[], None]) -> None:
        super().__init__(family, kind, protocol, descriptor)
        self._when_closed: Callable[[], None] | None = closed

    def close(self) -> None:
        super().close()
        if self._when_closed is not None:
            closed, self._when_closed = self._when_closed, None
            closed()
