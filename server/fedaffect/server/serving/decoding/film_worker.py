"""The program that decodes one long film, piece by piece, from an open file; it never goes back to the beginning.

Started by `fedaffect.server.serving.decoding.film`, one process a film. It never imports torch or ONNX Runtime.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import av
import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from fedaffect.edge.media.opening import FFMPEG_DAMAGE, Used, believed_s, open_container, tracks
from fedaffect.edge.media.picture import film_in
from fedaffect.edge.media.sound import sound_track_in
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.serving.decoding.checks import known
from fedaffect.server.serving.decoding.worker import Made, Work, serve

_NAME: Final = "the film"
_HEAD_BYTES: Final = 189
# Live requests go first.
_NICE: Final = 5


class FilmFile(io.RawIOBase):
    """A place of its own in an open file that several read.

    Parameters
    ----------
    number : int
        Of the open file.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._size = os.fstat(number).st_size
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on; how much there was."""
        count = os.preadv(self._number, [buffer], self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at


@dataclass(slots=True)
class _Pictures:
    """Decoded as far as somebody asked, and one further."""

    source: Iterator[tuple[NDArray[np.uint8], float]]
    ahead: tuple[NDArray[np.uint8], float] | None = None
    ended: bool = False

    def until(self, end_s: float, most: int) -> list[tuple[NDArray[np.uint8], float]]:
        """Those before a moment, of one size; fewer than ``most`` where the size changes."""
        taken: list[tuple[NDArray[np.uint8], float]] = []
        while len(taken) < most and self._peek():
            assert self.ahead is not None  # noqa: S101 - `_peek` says so
            image, at_s = self.ahead
            if at_s >= end_s or (taken and taken[0][0].shape != image.shape):
                break
            taken.append(self.ahead)
            self.ahead = None
        return taken

    def _peek(self) -> bool:
        if self.ahead is None and not self.ended:
            self.ahead = next(self.source, None)
            self.ended = self.ahead is None
        return self.ahead is not None


class Film:
    """One film while it is decoded.

    Parameters
    ----------
    number : int
        Of its open file.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._used = {"film": Used(), "sound": Used()}
        self._pictures: _Pictures | None = None
        self._sounds: Iterator[NDArray[np.float32]] | None = None

    @property
    def work(self) -> Mapping[str, Work]:
        """What may be asked for."""
        return {"open": self._open, "pictures": self._next_pictures, "sound": self._next_sound, "notes": self._notes}

    def _open(self, _: bytes, given: dict[str, Any]) -> Made:
        """Look at the head and begin."""
        file = self._file()
        if not known(file.read(_HEAD_BYTES)):
            raise InvalidRequest("this is no film that the server knows; send MP4, WebM, MOV or AVI")
        file.seek(0)
        try:
            with open_container(file) as container:
                seconds = believed_s((container.duration or 0) / av.time_base)
                shown, heard = tracks(container, "video"), tracks(container, "audio")
                size = (shown[0].width, shown[0].height) if shown else (0, 0)
                unknown = [s for s in (*container.streams.video, *container.streams.audio) if s.codec_context is None]
        except FFMPEG_DAMAGE:
            raise InvalidRequest(
                "the film cannot be opened: it is no film, damaged or cut off; save it again as MP4 or WebM"
            ) from None
        if not shown and not heard:
            if unknown:
                raise InvalidRequest(
                    "the film's codec is not known here; convert it to MP4 with H.264 and AAC, or to WebM"
                )
            raise InvalidRequest("the film holds neither pictures nor sound; record it again")
        if seconds is not None and seconds > given["longest_s"]:
            raise RequestTooLarge(f"the film lasts {seconds:.0f} s, more than {given['longest_s']:g} s; cut it")
        if size[0] * size[1] > given["pixels"]:
            most = f"{given['pixels'] / 1e6:.1f} megapixels"
            raise RequestTooLarge(f"the film has {size[0]} x {size[1]} pixels, more than {most}; scale it down")
        if shown:
            pace_hz = given["pictures_per_second"]
            self._pictures = _Pictures(film_in(self._file(), _NAME, pace_hz, self._used["film"]))
        if heard:
            self._sounds = self._resampled(given["rate_hz"])
        return None, {"duration_s": seconds, "pictures": bool(shown), "sound": bool(heard)}

    def _next_pictures(self, _: bytes, given: dict[str, Any]) -> Made:
        if self._pictures is None:
            return None, {"times_s": [], "ended": True}
        taken = self._pictures.until(given["end_s"], given["most"])
        head = {"times_s": [at_s for _, at_s in taken], "ended": self._pictures.ended}
        return (np.stack([image for image, _ in taken]) if taken else None), head

    def _next_sound(self, _: bytes, given: dict[str, Any]) -> Made:
        """At least as many samples as asked for, where there are."""
        pieces: list[NDArray[np.float32]] = []
        while self._sounds is not None and sum(map(len, pieces)) < given["samples"]:
            piece = next(self._sounds, None)
            if piece is None:
                self._sounds = None
                break
            pieces.append(piece)
        return (np.concatenate(pieces) if pieces else None), {"ended": self._sounds is None}

    def _notes(self, _: bytes, __: dict[str, Any]) -> Made:
        return None, {"notes": [note for track, used in self._used.items() for note in used.notes(track)]}

    def _resampled(self, rate_hz: int) -> Iterator[NDArray[np.float32]]:
        resampler: soxr.ResampleStream | None = None
        for sound in sound_track_in(self._file(), _NAME, self._used["sound"]):
            if sound.sample_rate_hz == rate_hz:
                yield sound.samples
                continue
            if resampler is None:
                resampler = soxr.ResampleStream(sound.sample_rate_hz, rate_hz, 1, dtype="float32", quality="HQ")
            yield resampler.resample_chunk(sound.samples)
        if resampler is not None:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _file(self) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(FilmFile(self._number), 1 << 16))


if __name__ == "__main__":
    os.nice(_NICE)
    serve(sys.argv[1:3], Film(int(sys.argv[3])).work)
