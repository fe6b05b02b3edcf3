"""Cameras and microphones through FFmpeg's devices, read on threads of their own so that none holds up another."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import Any, Final, Generic, TypeVar

import av
import numpy as np

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.picture import upright_rgb
from fedaffect.edge.media.timed import TimedPicture
from fedaffect.edge.media.voice import SAMPLE_RATE_HZ
from fedaffect.edge.sample import Waveform

Item = TypeVar("Item")

# FFmpeg's format and its first device, by platform. Windows names its devices, so none is the first.
_CAMERAS: Final = {"linux": "v4l2:/dev/video0", "darwin": "avfoundation:0:none"}
_MICROPHONES: Final = {"linux": "alsa:default", "darwin": "avfoundation::0"}
# PyAV's wheels look for ALSA's configuration under the folder that they were built in; this is where systems have it.
_ALSA_FILES: Final = Path("/usr/share/alsa")
_STALLED_S: Final = 5.0
# The encoders take five pictures a second; turning more than ten to RGB would be work for nothing.
_PICTURE_STEP_S: Final = 0.09
_PICTURES_AHEAD: Final = 50
_BLOCKS_AHEAD: Final = 2_000


class Camera(Iterator[TimedPicture]):
    """Pictures as a camera takes them, until it is closed or unplugged.

    Parameters
    ----------
    device : str, optional
        ``FORMAT:DEVICE`` as FFmpeg names them, such as ``v4l2:/dev/video2`` or ``dshow:video=Integrated Camera``; the
        platform's first if not given.
    start_s : float, optional
        Moment on ``time.monotonic`` that times count from; now if not given.

    Raises
    ------
    DataError
        If there is no such camera or this user may not use it.
    """

    def __init__(self, device: str | None = None, start_s: float | None = None) -> None:
        self._start_s = monotonic() if start_s is None else start_s
        self._container = _open("camera", device, _CAMERAS)
        self._pieces = _Pieces[TimedPicture]("camera", _PICTURES_AHEAD)
        Thread(target=self._read, name="fedaffect-camera", daemon=True).start()

    def __next__(self) -> TimedPicture:
        return self._pieces.take()

    def close(self) -> None:
        """Let go of the camera."""
        self._pieces.end()

    def _read(self) -> None:
        due_s = float("-inf")
        with self._container, self._pieces:
            for frame in self._container.decode(video=0):
                now_s = monotonic() - self._start_s
                if self._pieces.ended:
                    break
                if now_s >= due_s:
                    due_s = now_s + _PICTURE_STEP_S
                    self._pieces.put(TimedPicture(upright_rgb(frame), now_s))


class Microphone(Iterator[Waveform]):
    """Sound as a microphone hears it, piece by piece at 16 kHz, until it is closed or unplugged.

    Parameters
    ----------
    device : str, optional
        ``FORMAT:DEVICE`` as FFmpeg names them, such as ``alsa:hw:1`` or ``dshow:audio=Microphone``; the platform's
        first if not given.

    Raises
    ------
    DataError
        If there is no such microphone or this user may not use it.
    """

    def __init__(self, device: str | None = None) -> None:
        self._container = _open("microphone", device, _MICROPHONES)
        self._pieces = _Pieces[Waveform]("microphone", _BLOCKS_AHEAD)
        Thread(target=self._read, name="fedaffect-microphone", daemon=True).start()

    def __next__(self) -> Waveform:
        return self._pieces.take()

    def close(self) -> None:
        """Let go of the microphone."""
        self._pieces.end()

    def _read(self) -> None:
        mono = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        with self._container, self._pieces:
            for frame in self._container.decode(audio=0):
                if self._pieces.ended:
                    break
                for block in mono.resample(frame):
                    samples = np.ascontiguousarray(block.to_ndarray()[0], dtype=np.float32)
                    self._pieces.put(Waveform(samples, SAMPLE_RATE_HZ))


class _Pieces(Generic[Item]):
    """What a device gave and nobody took yet; the oldest goes where there is too much."""

    def __init__(self, device: str, most: int) -> None:
        self._device = device
        self._pieces: deque[Item] = deque(maxlen=most)
        self._changed = Condition()
        self._failure: str | None = None
        self.ended = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """The device is done: unplugged, closed, or failing; whoever takes is told."""
        if isinstance(error, av.FFmpegError | ValueError | OSError):
            self._failure = str(error)
        self.end()
        return self._failure is not None

    def put(self, piece: Item) -> None:
        with self._changed:
            self._pieces.append(piece)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def take(self) -> Item:
        with self._changed:
            if not self._changed.wait_for(lambda: self._pieces or self.ended, _STALLED_S):
                raise DataError(f"the {self._device} gave nothing for {_STALLED_S:g} s; plug it in again")
            if self._pieces:
                return self._pieces.popleft()
        if self._failure is not None:
            raise DataError(f"the {self._device} stopped ({self._failure}); plug it in again")
        raise StopIteration


def _open(what: str, device: str | None, firsts: dict[str, str]) -> Any:
    named = device or firsts.get(sys.platform)
    if named is None:
        raise DataError(f"name the {what}, such as --{what} 'dshow:...'; FFmpeg lists them with -list_devices true")
    kind, colon, place = named.partition(":")
    if not colon or not place:
        raise DataError(f"{named!r} names no {what}; give FORMAT:DEVICE, such as {next(iter(firsts.values()))}")
    # Before the first sound device: ALSA looks this up once in a process.
    if kind == "alsa" and _ALSA_FILES.is_dir():
        os.environ.setdefault("ALSA_CONFIG_DIR", str(_ALSA_FILES))
    try:
        return av.open(place, format=kind, mode="r")
    except (av.FFmpegError, ValueError, OSError) as error:
        raise DataError(
            f"no {what} at {named} ({getattr(error, 'strerror', None) or error}); plug one in, name another with "
            f"--{what}, or do without it"
        ) from error
