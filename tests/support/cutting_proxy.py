"""A network between a device and its fleet that cuts connections in the middle, and delays what it carries."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock, Thread

_BLOCK = 16_384
# Closed so, a connection is reset, as when a cable is pulled: nothing that is on its way arrives.
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Link:
    """How bad a link is; may be changed while it is in use.

    Parameters
    ----------
    cut_after : (int, int), optional
        Each connection is cut after so many bytes, drawn between the two; in the middle of whatever is on its way.
    away_s : float
        After a cut nobody gets through for so long.
    delay_s : float
        Each block of 16 KiB, either way, takes so much longer.
    seed : int
    """

    cut_after: tuple[int, int] | None = None
    away_s: float = 0.0
    delay_s: float = 0.0
    seed: int = 0


@dataclass(slots=True)
class _Passing:
    """One connection through the proxy, and how many bytes it may still carry; None while nothing cuts it."""

    ends: tuple[socket.socket, socket.socket]
    left: int | None = None
    lock: Lock = field(default_factory=Lock)

    def take(self, count: int, link: Link, draw: random.Random) -> int:
        """How many of so many bytes still go through."""
        with self.lock:
            if link.cut_after is None:
                self.left = None
                return count
            if self.left is None:
                self.left = draw.randint(*link.cut_after)
            taken = min(count, self.left)
            self.left -= taken
            return taken


class CuttingProxy:
    """Passes connections to a port of this machine on over a link; ``cuts`` and ``connections`` count.

    Parameters
    ----------
    listener : socket
    port : int
        Where it passes them to.
    link : Link
    """

    def __init__(self, listener: socket.socket, port: int, link: Link) -> None:
        self.port: int = listener.getsockname()[1]
        self.cuts = self.connections = 0
        self._listener = listener
        self._target = ("127.0.0.1", port)
        self._link = link
        self._draw = random.Random(link.seed)
        self._back = 0.0

    def serve(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, device: socket.socket) -> None:
        self.connections += 1
        if time.monotonic() < self._back:
            _reset(device)
            return
        with suppress(OSError):
            passing = _Passing((device, socket.create_connection(self._target)))
            device, server = passing.ends
            back = Thread(target=self._pump, args=(server, device, passing), daemon=True)
            back.start()
            self._pump(device, server, passing)
            back.join()
            for end in passing.ends:
                end.close()

    def _pump(self, source: socket.socket, target: socket.socket, passing: _Passing) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                if self._link.delay_s:
                    time.sleep(self._link.delay_s)
                through = passing.take(len(block), self._link, self._draw)
                target.sendall(block[:through])
                if through < len(block):
                    self._cut(passing)
                    return
            target.shutdown(socket.SHUT_WR)

    def _cut(self, passing: _Passing) -> None:
        self.cuts += 1
        self._back = time.monotonic() + self._link.away_s
        for end in passing.ends:
            _reset(end)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # Wakes the thread that reads from it, too.
        end.shutdown(socket.SHUT_RD)
        end.close()


@contextmanager
def cutting(link: Link, *ports: int) -> Iterator[list[CuttingProxy]]:
    """A proxy in front of each of these ports of this machine, over one link."""
    with ExitStack() as stack:
        proxies = []
        for port in ports:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            proxies.append(CuttingProxy(listener, port, link))
            Thread(target=proxies[-1].serve, daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
        yield proxies
