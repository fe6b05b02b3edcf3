"""One process that decodes, what it is allowed, and what it answers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError
from fedaffect.edge.system.no_telemetry import SILENT
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.serving.decoding.messages import Link, OwnMemory

_DYING_S: Final = 0.02
# Of the server's environment; secrets such as the database's address are none of a decoder's business.
_KEPT: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "HOME", "TMPDIR")
# One thread and few arenas: address space is limited, and each of them claims tens of megabytes.
_ALONE: Final = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}

# Of what a decoder says; whether it suits sound is looked at where sound is used.
_FASTEST_HZ: Final = 1e6

LATE: Final = "decoding took longer than there was time; send a shorter or a simpler file"
LARGE: Final = "decoding needs more memory than one file may take; send a smaller or a simpler file"
DIED: Final = "the file ended the process that decodes it; save it again, in another format"


class Process:
    """One process, and the link to it.

    Parameters
    ----------
    command : sequence of str
        The program; told the numbers of its socket, its memory and the open files, in this order.
    files : sequence of int
        Open files that it may use too.
    """

    def __init__(self, command: Sequence[str], files: Sequence[int] = ()) -> None:
        self._line, theirs = socket.socketpair()
        self._memory = OwnMemory()
        self._link = Link(self._line, self._memory)
        handed_down = theirs.fileno(), self._memory.file.fileno(), *files
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - commands of our own making
                (*command, *map(str, handed_down)),
                pass_fds=handed_down,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT if name in os.environ} | dict(SILENT) | _ALONE,
                start_new_session=True,
            )

    def ask(self, head: Mapping[str, Any], body: bytes, until_s: float) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        """One file, one answer."""
        self._link.send(head, body, until_s)
        return self._link.receive(until_s)

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def kill(self) -> str:
        """End it at once; how it ended, in words."""
        with contextlib.suppress(OSError):
            # Whoever waits for an answer stops waiting.
            self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()
        self._memory.file.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            # It may be dying of itself, and how is worth knowing.
            self._process.wait(_DYING_S)
        self._process.kill()
        status = self._process.wait()
        return signal.Signals(-status).name if status < 0 else f"status {status}"


def array_of(head: Mapping[str, Any], body: NDArray[np.uint8], kind: np.dtype[Any], axes: int) -> NDArray[Any]:
    """The array behind a head. Whatever took a decoder over writes heads too.

    Raises
    ------
    DataError
        If they do not fit.
    """
    try:
        shape = tuple(int(side) for side in head["shape"])
        if len(shape) != axes or min(shape) < 0 or head["dtype"] != kind.str:
            raise ValueError
        return body.view(kind).reshape(shape)
    except (KeyError, TypeError, ValueError):
        raise DataError(DIED) from None


def rate_and_notes(head: Mapping[str, Any]) -> tuple[float, tuple[str, ...]]:
    """As `array_of`, of what stands beside the array."""
    try:
        rate, notes = float(head["rate"]), tuple(map(str, head["notes"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(DIED) from None
    if not 0 <= rate < _FASTEST_HZ:
        raise DataError(DIED)
    return rate, notes


def error_of(head: Mapping[str, Any]) -> Exception:
    """What a decoder says went wrong, to be raised."""
    why = str(head.get("why"))
    match head["error"]:
        case "DataError":
            return DataError(why)
        case "InvalidRequest":
            return InvalidRequest(why)
        case "RequestTooLarge":
            return RequestTooLarge(why)
        case _:
            return RuntimeError(f"a decoder met what nobody foresaw: {why}")
