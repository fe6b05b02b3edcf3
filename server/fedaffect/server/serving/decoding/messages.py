"""What goes between the server and a decoder: heads as JSON over a socket, and bytes through memory that both have.

Neither end runs or unpickles what the other wrote.
"""

from __future__ import annotations

import json
import mmap
import os
import socket
import struct
import tempfile
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

# A film of 150 pictures of 640 x 640, or the file of a request.
MOST_BYTES: Final = 1 << 28
# What is larger is given back to the system after its message.
_KEPT_BYTES: Final = 1 << 22
_LENGTHS: Final = struct.Struct("<IQ")
_MOST_HEAD: Final = 1 << 20


class BrokenMessage(Exception):
    """The other side ended, or sent what is no message."""


class Memory(Protocol):
    """Where the bytes of one message lie."""

    def put(self, body: memoryview) -> None:
        """Write them, from the beginning."""

    def take(self, count: int) -> NDArray[np.uint8]:
        """A copy of the first so many, shape (count,)."""
        ...


class OwnMemory:
    """The server's end. It reads and writes like a file: one that the decoder shortens is short, and harms nobody."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.file = open(os.memfd_create("decoder"), "r+b", buffering=0)  # noqa: SIM115, PTH123
        else:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        os.ftruncate(self.file.fileno(), MOST_BYTES)

    def put(self, body: memoryview) -> None:
        """Write them, from the beginning."""
        if os.pwrite(self.file.fileno(), body, 0) != len(body):
            raise OSError("no memory for a decoder's file")

    def take(self, count: int) -> NDArray[np.uint8]:
        """A copy of the first so many, shape (count,).

        Raises
        ------
        BrokenMessage
            If there are fewer.
        """
        taken = np.empty(count, np.uint8)
        if os.preadv(self.file.fileno(), [taken.data], 0) != count:
            raise BrokenMessage("the memory was made shorter")
        if count > _KEPT_BYTES:
            os.ftruncate(self.file.fileno(), 0)
            os.ftruncate(self.file.fileno(), MOST_BYTES)
        return taken


class MappedMemory:
    """The decoder's end, which may not write files."""

    def __init__(self, file: int) -> None:
        self._shared = np.frombuffer(mmap.mmap(file, MOST_BYTES), np.uint8)

    def put(self, body: memoryview) -> None:
        """Write them, from the beginning."""
        self._shared[: len(body)] = np.frombuffer(body, np.uint8)

    def take(self, count: int) -> NDArray[np.uint8]:
        """A copy of the first so many, shape (count,)."""
        return self._shared[:count].copy()


class Link:
    """One end.

    Parameters
    ----------
    line : socket
        For heads.
    memory : Memory
        For the bytes behind them, of one message at a time.
    """

    def __init__(self, line: socket.socket, memory: Memory) -> None:
        self._line = line
        self._memory = memory

    def send(self, head: Mapping[str, Any], body: bytes | memoryview = b"", until_s: float = 0.0) -> None:
        """Send one message.

        Parameters
        ----------
        head : mapping
            JSON values.
        body : bytes
            At most `MOST_BYTES`.
        until_s : float
            When to give up, on the clock of ``time.monotonic``; 0 for never.

        Raises
        ------
        TimeoutError, OSError
        """
        self._memory.put(memoryview(body))
        text = json.dumps(head).encode()
        self._limit(until_s)
        self._line.sendall(_LENGTHS.pack(len(text), len(body)) + text)

    def receive(self, until_s: float = 0.0) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        """The next message's head, and its bytes, shape (N,).

        Raises
        ------
        BrokenMessage
            If the other side closed, or sent none.
        TimeoutError, OSError
        """
        text_bytes, body_bytes = _LENGTHS.unpack(self._exactly(_LENGTHS.size, until_s))
        if text_bytes > _MOST_HEAD or body_bytes > MOST_BYTES:
            raise BrokenMessage(f"a message of {text_bytes} and {body_bytes} bytes")
        try:
            head = json.loads(self._exactly(text_bytes, until_s))
        except ValueError as error:
            raise BrokenMessage("a head that is no JSON") from error
        if not isinstance(head, dict):
            raise BrokenMessage("a head that is no object")
        return head, self._memory.take(body_bytes)

    def _exactly(self, count: int, until_s: float) -> bytes:
        taken = b""
        while len(taken) < count:
            self._limit(until_s)
            if not (got := self._line.recv(count - len(taken))):
                raise BrokenMessage("the other side closed")
            taken += got
        return taken

    def _limit(self, until_s: float) -> None:
        if not until_s:
            return
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._line.settimeout(left_s)
