"""Processes that open what callers sent: kept warm, killed at the deadline, started again when they die."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import Frames, Waveform
from fedaffect.edge.system.no_telemetry import SILENT
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.serving.decoding.checks import MediaLimits
from fedaffect.server.serving.decoding.messages import MOST_BYTES, BrokenMessage, Link, OwnMemory

_LOG: Final = logging.getLogger(__name__)
_WORKER: Final = (sys.executable, "-P", "-m", "fedaffect.server.serving.decoding.worker")
# No caller's deadline is later; decoders that are asked without one get as much.
_LONGEST_S: Final = 60.0
# A decoder that looks at the clock says so itself, soon after the deadline.
_GRACE_S: Final = 0.3
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

_LATE: Final = "decoding took longer than there was time; send a shorter or a simpler file"
_LARGE: Final = "decoding needs more memory than one file may take; send a smaller or a simpler file"
_DIED: Final = "the file ended the process that decodes it; save it again, in another format"


class Decoders:
    """Opens sounds, pictures and films in processes of their own; shared by threads.

    A call takes an idle process or starts one, so there are as many as threads that call at once. A process that
    crashes, hangs past the deadline or runs out of memory costs its file alone, and another takes its place.

    Parameters
    ----------
    command : sequence of str, optional
        A program like `fedaffect.server.serving.decoding.worker`; told the numbers of its socket and its memory.
    """

    def __init__(self, command: Sequence[str] = _WORKER) -> None:
        self._command = tuple(command)
        self._idle: list[_Process] = []
        self._lock = threading.Lock()
        self._closed = False

    def warm(self, count: int) -> None:
        """Start so many processes, so that the first files need not wait for them."""
        for _ in range(count):
            self._give_back(_Process(self._command))

    def check_sound(self, data: bytes, limits: MediaLimits, until_s: float) -> None:
        """`fedaffect.server.serving.decoding.checks.check_sound`, and DataError where the decoder fails."""
        self._ask("check_sound", data, {"limits": asdict(limits)}, until_s)

    def check_pictures(self, data: bytes, limits: MediaLimits, until_s: float) -> None:
        """`fedaffect.server.serving.decoding.checks.check_pictures`, and DataError where the decoder fails."""
        self._ask("check_pictures", data, {"limits": asdict(limits)}, until_s)

    def decode_picture(self, data: bytes, limits: MediaLimits, until_s: float) -> NDArray[np.uint8]:
        """`fedaffect.server.serving.decoding.checks.decode_picture`, and DataError where the decoder fails."""
        head, body = self._ask("decode_picture", data, {"limits": asdict(limits)}, until_s)
        return _array(head, body, np.dtype(np.uint8), 3)

    def sound(self, data: bytes, max_seconds: float, until_s: float) -> tuple[Waveform, tuple[str, ...]]:
        """`fedaffect.edge.media.beginning.beginning` of a file."""
        head, body = self._ask("sound", data, {"max_seconds": max_seconds}, until_s)
        samples, (rate, notes) = _array(head, body, np.dtype(np.float32), 1), _rate_and_notes(head)
        return Waveform(samples, int(rate)), notes

    def pictures(
        self, data: bytes, frames_per_second: float, max_frames: int, until_s: float
    ) -> tuple[Frames, tuple[str, ...]]:
        """`fedaffect.edge.media.picture.seen` of a file."""
        given = {"frames_per_second": frames_per_second, "max_frames": max_frames}
        head, body = self._ask("pictures", data, given, until_s)
        images, (rate, notes) = _array(head, body, np.dtype(np.uint8), 4), _rate_and_notes(head)
        return Frames(images, rate), notes

    def close(self) -> None:
        """End those that are idle, and each of the others after its file."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for process in idle:
            process.kill()

    def _ask(
        self, do: str, data: bytes, given: Mapping[str, Any], until_s: float
    ) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        now_s = time.monotonic()
        until_s = min(until_s, now_s + _LONGEST_S)
        if until_s <= now_s:
            raise DataError(_LATE)
        if len(data) > MOST_BYTES:
            raise DataError(_LARGE)
        process = self._take()
        try:
            head, body = process.ask({"do": do, "left_s": until_s - now_s, **given}, data, until_s + _GRACE_S)
        except TimeoutError:
            self._replace(process, "hung past the deadline")
            raise DataError(_LATE) from None
        except (BrokenMessage, OSError) as error:
            self._replace(process, str(error))
            raise DataError(_DIED) from None
        except BaseException:
            process.kill()
            raise
        if head.get("error") == "MemoryError":
            self._replace(process, "out of memory")
            raise DataError(_LARGE)
        self._give_back(process)
        if "error" in head:
            raise _error(head)
        return head, body

    def _take(self) -> _Process:
        while True:
            with self._lock:
                # The one used last: its memory is warm.
                idle = self._idle.pop() if self._idle else None
            process = idle or _Process(self._command)
            if process.alive():
                return process
            _LOG.warning("an idle decoder ended (%s)", process.kill())

    def _give_back(self, process: _Process) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(process)
                return
        process.kill()

    def _replace(self, process: _Process, why: str) -> None:
        _LOG.warning("a decoder ended (%s, %s) and is replaced", process.kill(), why)
        if not self._closed:
            # It starts while this request is answered; the next one waits less.
            self._give_back(_Process(self._command))


class _Process:
    """One process, and the link to it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._line, theirs = socket.socketpair()
        self._memory = OwnMemory()
        self._link = Link(self._line, self._memory)
        handed_down = theirs.fileno(), self._memory.file.fileno()
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
        self._line.close()
        self._memory.file.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            # It may be dying of itself, and how is worth knowing.
            self._process.wait(_DYING_S)
        self._process.kill()
        status = self._process.wait()
        return signal.Signals(-status).name if status < 0 else f"status {status}"


def _array(head: Mapping[str, Any], body: NDArray[np.uint8], kind: np.dtype[Any], axes: int) -> NDArray[Any]:
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
        raise DataError(_DIED) from None


def _rate_and_notes(head: Mapping[str, Any]) -> tuple[float, tuple[str, ...]]:
    """As `_array`, of what stands beside the array."""
    try:
        rate, notes = float(head["rate"]), tuple(map(str, head["notes"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise DataError(_DIED) from None
    if not 0 <= rate < _FASTEST_HZ:
        raise DataError(_DIED)
    return rate, notes


def _error(head: Mapping[str, Any]) -> Exception:
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
