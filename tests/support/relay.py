"""A network between a device and the cloud that a test can cut: real sockets, one relay."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from threading import Thread


class Network(Enum):
    """What becomes of a connection."""

    AWAY = "nobody answers"
    LOSSY = "what is asked arrives, and the answer is lost"
    THROUGH = "as it should be"


class Relay:
    """Passes connections on as its ``network`` is at the moment; ``lost`` counts answers that were swallowed."""

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self.network = Network.AWAY
        self.lost = 0
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._target = target

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                Thread(target=self._pass_on, args=(connection, self.network), daemon=True).start()

    def _pass_on(self, device: socket.socket, network: Network) -> None:
        with device, suppress(OSError):
            if network is Network.AWAY:
                return
            with socket.create_connection(self._target) as cloud:
                Thread(target=_pump, args=(device, cloud), daemon=True).start()
                if network is Network.LOSSY:
                    self.lost += bool(cloud.recv(1))
                    # So that the thread which reads lets go of it too.
                    device.shutdown(socket.SHUT_RDWR)
                    return
                _pump(cloud, device)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65_536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def relay_to(url: str) -> Iterator[Relay]:
    """A relay in front of ``http://HOST:PORT``; nobody answers there yet."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener, (host, int(port)))
        Thread(target=relay.serve, daemon=True).start()
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
