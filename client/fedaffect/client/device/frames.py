"""Framed bytes over a Unix socket: a length, then that many bytes; protobuf inside, never pickle."""

from __future__ import annotations

import socket
import struct
from typing import Final

from fedaffect.edge.errors import RunError

# A fusion layer of a hundred million parameters, its control variate and what a client keeps.
LARGEST_FRAME: Final = 2**31 - 1
_LENGTH: Final = struct.Struct(">Q")


def send_frames(connection: socket.socket, *frames: bytes) -> None:
    """Send byte strings one after the other."""
    for frame in frames:
        connection.sendall(_LENGTH.pack(len(frame)))
        connection.sendall(frame)


def receive_frame(connection: socket.socket) -> bytes:
    """One byte string.

    Raises
    ------
    RunError
        If the other side hangs up in the middle of it, or announces more than `LARGEST_FRAME`.
    """
    (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size))
    if length > LARGEST_FRAME:
        raise RunError(f"a frame of {length} bytes is announced, more than {LARGEST_FRAME}; no trainer does")
    return bytes(_receive(connection, length))


def _receive(connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = connection.recv_into(view)
        if count == 0:
            raise RunError("the other side of the trainer's socket hung up; the message will be asked for again")
        view = view[count:]
    return data
