"""Servers that misbehave, on real sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

Behaviour = Callable[[socket.socket, Event], None]


@contextmanager
def listening(behave: Behaviour) -> Iterator[int]:
    """A port on loopback; each connection is given to ``behave`` with an event that says when to leave."""
    leave = Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    threads: list[Thread] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            behave(connection, leave)

    def accept() -> None:
        while not leave.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            connection.settimeout(30.0)
            threads.append(Thread(target=one, args=(connection,), daemon=True))
            threads[-1].start()

    acceptor = Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server.getsockname()[1]
    finally:
        leave.set()
        acceptor.join()
        server.close()
        for thread in threads:
            thread.join()


def hang(connection: socket.socket, leave: Event) -> None:
    """Takes all and says nothing."""
    leave.wait()


def hang_up(connection: socket.socket, leave: Event) -> None:
    """Reads a little, then closes."""
    connection.recv(1024)


def reset(connection: socket.socket, leave: Event) -> None:
    """Reads a little, then resets the connection."""
    connection.recv(1024)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_close(connection: socket.socket, leave: Event) -> None:
    """Closes its sending side and keeps the connection."""
    connection.recv(1024)
    connection.shutdown(socket.SHUT_WR)
    leave.wait()


def babble(connection: socket.socket, leave: Event) -> None:
    """Says what is neither HTTP/1.1 nor HTTP/2."""
    connection.recv(1024)
    connection.sendall(b"\x00\xffSSH-2.0-OpenSSH_9.6\r\n" * 20)
    # Closing with something unread would reset the connection, and the nonsense might not arrive.
    leave.wait()


def drip(connection: socket.socket, leave: Event) -> None:
    """Sends a byte of an endless header now and then: no single read ever waits long."""
    connection.recv(1024)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not leave.wait(0.02):
        connection.sendall(b"a")


def drip_body(connection: socket.socket, leave: Event) -> None:
    """The same with the body."""
    connection.recv(1024)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not leave.wait(0.02):
        connection.sendall(b" ")


def cut_off(connection: socket.socket, leave: Event) -> None:
    """Promises more than it sends."""
    connection.recv(1024)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"label":')
    connection.shutdown(socket.SHUT_WR)
    leave.wait()


def answering(status: str, body: bytes, headers: str = "") -> Behaviour:
    """Speaks proper HTTP/1.1, once a connection, whatever is asked."""

    def behave(connection: socket.socket, leave: Event) -> None:
        _read_request(connection)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
        connection.sendall(head.encode() + body)

    return behave


def _read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
    while len(body) < length and (block := connection.recv(65536)):
        body += block
