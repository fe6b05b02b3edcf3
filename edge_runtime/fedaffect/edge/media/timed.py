"""What comes over time: pictures, sound and words, from files or from memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.picture import decode_video, film
from fedaffect.edge.media.sound import sound_track
from fedaffect.edge.sample import Frames, Waveform, ZipMember

_BLOCK_S = 0.25


@dataclass(frozen=True, slots=True)
class TimedPicture:
    """One picture of a stream.

    Parameters
    ----------
    image : uint8 array, shape (H, W, 3)
        RGB.
    time_s : float
        When it was taken, from the stream's beginning.
    """

    image: NDArray[np.uint8]
    time_s: float


@dataclass(frozen=True, slots=True)
class TimedWords:
    """What was said at a moment of a stream.

    Parameters
    ----------
    text : str
        The words.
    time_s : float
        When, from the stream's beginning.
    """

    text: str
    time_s: float


Pictures = Path | str | bytes | ZipMember | Frames | Iterable[TimedPicture]
Sounds = Path | str | bytes | ZipMember | Waveform | Iterable[Waveform]
Words = str | Iterable[TimedWords]


def pictures_of(source: Pictures | None, frames_per_second: float) -> Iterator[TimedPicture]:
    """Pictures in the order of time, those of files and arrays at ``frames_per_second``; none for None.

    Raises
    ------
    DataError
        On the way, where a file is missing or damaged.
    """
    match source:
        case None:
            return
        case Frames():
            frames = decode_video(source, frames_per_second, len(source.images))
            rate_hz = frames.frames_per_second or frames_per_second
            for place, image in enumerate(frames.images):
                yield TimedPicture(image, place / rate_hz)
        case Path() | str() | bytes() | ZipMember():
            for image, time_s in film(Path(source) if isinstance(source, str) else source, frames_per_second):
                yield TimedPicture(image, time_s)
        case _:
            yield from source


def sounds_of(source: Sounds | None) -> Iterator[Waveform]:
    """Sound, block after block; none for None.

    Raises
    ------
    DataError
        On the way, where a file is missing or damaged or values are not numbers.
    """
    match source:
        case None:
            return
        case Waveform():
            if source.sample_rate_hz <= 0:
                raise DataError("the sample rate must be positive; give it in Hz")
            step = max(1, round(_BLOCK_S * source.sample_rate_hz))
            for start in range(0, len(source.samples), step):
                yield Waveform(source.samples[start : start + step], source.sample_rate_hz)
        case Path() | str() | bytes() | ZipMember():
            yield from sound_track(Path(source) if isinstance(source, str) else source)
        case _:
            yield from source
