"""Processes that open what callers sent: kept warm, killed at the deadline, started again when they die."""

from __future__ import annotations

import logging
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
from fedaffect.server.serving.decoding.checks import MediaLimits
from fedaffect.server.serving.decoding.messages import MOST_BYTES, BrokenMessage
from fedaffect.server.serving.decoding.process import (
    DIED,
    LARGE,
    LATE,
    Process,
    array_of,
    error_of,
    rate_and_notes,
)

_LOG: Final = logging.getLogger(__name__)
_WORKER: Final = (sys.executable, "-P", "-m", "fedaffect.server.serving.decoding.worker")
# No caller's deadline is later; decoders that are asked without one get as much.
_LONGEST_S: Final = 60.0
# A decoder that looks at the clock says so itself, soon after the deadline.
_GRACE_S: Final = 0.3


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
        self._idle: list[Process] = []
        self._lock = threading.Lock()
        self._closed = False

    def warm(self, count: int) -> None:
        """Start so many processes, so that the first files need not wait for them."""
        for _ in range(count):
            self._give_back(Process(self._command))

    def check_sound(self, data: bytes, limits: MediaLimits, until_s: float) -> None:
        """`fedaffect.server.serving.decoding.checks.check_sound`, and DataError where the decoder fails."""
        self._ask("check_sound", data, {"limits": asdict(limits)}, until_s)

    def check_pictures(self, data: bytes, limits: MediaLimits, until_s: float) -> None:
        """`fedaffect.server.serving.decoding.checks.check_pictures`, and DataError where the decoder fails."""
        self._ask("check_pictures", data, {"limits": asdict(limits)}, until_s)

    def decode_picture(self, data: bytes, limits: MediaLimits, until_s: float) -> NDArray[np.uint8]:
        """`fedaffect.server.serving.decoding.checks.decode_picture`, and DataError where the decoder fails."""
        head, body = self._ask("decode_picture", data, {"limits": asdict(limits)}, until_s)
        return array_of(head, body, np.dtype(np.uint8), 3)

    def sound(self, data: bytes, max_seconds: float, until_s: float) -> tuple[Waveform, tuple[str, ...]]:
        """`fedaffect.edge.media.beginning.beginning` of a file."""
        head, body = self._ask("sound", data, {"max_seconds": max_seconds}, until_s)
        samples, (rate, notes) = array_of(head, body, np.dtype(np.float32), 1), rate_and_notes(head)
        return Waveform(samples, int(rate)), notes

    def pictures(
        self, data: bytes, frames_per_second: float, max_frames: int, until_s: float
    ) -> tuple[Frames, tuple[str, ...]]:
        """`fedaffect.edge.media.picture.seen` of a file."""
        given = {"frames_per_second": frames_per_second, "max_frames": max_frames}
        head, body = self._ask("pictures", data, given, until_s)
        images, (rate, notes) = array_of(head, body, np.dtype(np.uint8), 4), rate_and_notes(head)
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
            raise DataError(LATE)
        if len(data) > MOST_BYTES:
            raise DataError(LARGE)
        process = self._take()
        try:
            head, body = process.ask({"do": do, "left_s": until_s - now_s, **given}, data, until_s + _GRACE_S)
        except TimeoutError:
            self._replace(process, "hung past the deadline")
            raise DataError(LATE) from None
        except (BrokenMessage, OSError) as error:
            self._replace(process, str(error))
            raise DataError(DIED) from None
        except BaseException:
            process.kill()
            raise
        if head.get("error") == "MemoryError":
            self._replace(process, "out of memory")
            raise DataError(LARGE)
        self._give_back(process)
        if "error" in head:
            raise error_of(head)
        return head, body

    def _take(self) -> Process:
        while True:
            with self._lock:
                # The one used last: its memory is warm.
                idle = self._idle.pop() if self._idle else None
            process = idle or Process(self._command)
            if process.alive():
                return process
            _LOG.warning("an idle decoder ended (%s)", process.kill())

    def _give_back(self, process: Process) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(process)
                return
        process.kill()

    def _replace(self, process: Process, why: str) -> None:
        _LOG.warning("a decoder ended (%s, %s) and is replaced", process.kill(), why)
        if not self._closed:
            # It starts while this request is answered; the next one waits less.
            self._give_back(Process(self._command))
