"""Long sounds and films: cut into windows of the length that encoders take, decoded one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count, groupby, islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.encoders.speech import SpeechEncoder
from fedaffect.edge.encoders.vision import VisionEncoder
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.opening import Used, length_s
from fedaffect.edge.media.picture import film, thinned
from fedaffect.edge.media.sound import sound_track
from fedaffect.edge.media.source import open_stored
from fedaffect.edge.runtime.intake import with_paths
from fedaffect.edge.sample import Audio, Frames, Sample, Video, Waveform

# Of longer media, the beginning of this length is used: ten windows, some ten seconds' work on a small device.
LONGEST_S: Final = 300.0
# What is longer than a window by less than this is no further window.
_SLACK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a sample that encoders take at once.

    Parameters
    ----------
    sample : Sample
        Its decoded media, and the words of the whole.
    start_s, end_s : float
        Of the whole's time.
    notes : tuple of str
        What the caller should know.
    """

    sample: Sample
    start_s: float
    end_s: float
    notes: tuple[str, ...] = ()


class Spans:
    """A sample as it is, or window by window where its sound or film is longer than an encoder takes.

    Each window is decoded when it is asked for, and nothing of it is kept.

    Parameters
    ----------
    sample : Sample
    encoders : mapping of str to Encoder
        By modality.
    longest_s : float
        What comes after is not used.

    Attributes
    ----------
    window_s : float
        Length of a window; 0 where the sample is not cut.
    """

    def __init__(self, sample: Sample, encoders: Mapping[str, Encoder], longest_s: float = LONGEST_S) -> None:
        self._sample = sample
        self._media = with_paths(sample)
        self._longest_s = longest_s
        self._used = {"sound": Used(), "film": Used()}
        self._whole_s: float | None = None
        self._cut_s = 0.0
        speech, vision = encoders.get("audio"), encoders.get("video")
        self._speech = speech.settings if isinstance(speech, SpeechEncoder) and sample.audio is not None else None
        self._vision = vision.settings if isinstance(vision, VisionEncoder) and sample.video is not None else None
        lengths = [] if self._speech is None else [self._speech.max_seconds]
        lengths += [] if self._vision is None else [self._vision.max_frames / self._vision.frames_per_second]
        self.window_s = min(lengths, default=0.0)
        if not lengths or not self._is_long():
            self.window_s = 0.0

    def __iter__(self) -> Iterator[Span]:
        if not self.window_s:
            yield Span(self._sample, 0.0, 0.0)
            return
        media = {"audio": self._sounds(), "video": self._films()}
        given: dict[str, Any] = {"audio": self._media.audio, "video": self._media.video}
        for place in count():
            start_s, notes = place * self.window_s, []
            window: dict[str, Any] = {}
            for modality, pieces in media.items():
                try:
                    window[modality] = given[modality] if pieces is None else next(pieces, None)
                except DataError as error:
                    # A still picture has no windows: it goes with each. What breaks on the way has no more of them.
                    media[modality] = None if place == 0 else iter(())
                    window[modality] = given[modality] if place == 0 else None
                    notes += [] if place == 0 else [f"{modality} breaks off: {error}"]
            if all(window[modality] is None for modality, pieces in media.items() if pieces is not None):
                return
            if start_s + self.window_s / 2 > self._longest_s:
                self._cut_s = start_s
                return
            yield Span(replace(self._sample, **window), start_s, start_s + self.window_s, tuple(notes))

    def notes(self) -> tuple[str, ...]:
        """What of the sample was not used, once it was gone through."""
        told = tuple(note for track, used in self._used.items() for note in used.notes(track))
        if not self._cut_s:
            return told
        return (only_first(self._cut_s, self._whole_s), *told)

    def _is_long(self) -> bool:
        known = [_length_s(self._media.audio) if self._speech else 0.0, self._film_length_s() if self._vision else 0.0]
        self._whole_s = max((length for length in known if length is not None), default=0.0) or None
        if self._whole_s is not None and self._whole_s > self.window_s + _SLACK_S:
            return True
        # Heads of what was recorded on the fly do not say how long it is; whether there is more is seen by decoding.
        unknown = [
            pieces for length, pieces in zip(known, (self._sounds(), self._films()), strict=True) if length is None
        ]
        return any(_has_two(pieces) for pieces in unknown if pieces is not None)

    def _film_length_s(self) -> float | None:
        source = self._media.video
        if isinstance(source, Frames) and self._vision is not None:
            return len(source.images) / (source.frames_per_second or self._vision.frames_per_second)
        return _length_s(source)

    def _sounds(self) -> Iterator[Waveform] | None:
        return None if self._speech is None else _sounds(self._media.audio, self.window_s, self._used["sound"])

    def _films(self) -> Iterator[Frames] | None:
        if self._vision is None:
            return None
        return _films(self._media.video, self.window_s, self._vision.frames_per_second, self._used["film"])


def only_first(used_s: float, whole_s: float | None) -> str:
    """A note of how much of a long sample was used."""
    of = f" of {round(whole_s, 1):g} s" if whole_s is not None and whole_s > used_s else ""
    return f"only the first {used_s:g} s{of} were used"


def _length_s(source: Audio | Video | None) -> float | None:
    if isinstance(source, Waveform):
        return len(source.samples) / max(source.sample_rate_hz, 1)
    if source is None or isinstance(source, Frames):
        return 0.0
    try:
        with open_stored(source) as file:
            return length_s(file)
    except DataError:
        return 0.0


def _has_two(pieces: Iterator[Any]) -> bool:
    try:
        return len(list(islice(pieces, 2))) == 2
    except DataError:
        return False


def _sounds(source: Any, window_s: float, used: Used) -> Iterator[Waveform]:
    held: list[NDArray[np.float32]] = []
    rate_hz = 0
    for block in sound_track(source, used):
        rate_hz = block.sample_rate_hz
        held.append(block.samples)
        wanted = round(window_s * rate_hz)
        while sum(map(len, held)) >= wanted + round(_SLACK_S * rate_hz):
            joined = np.concatenate(held)
            yield Waveform(joined[:wanted], rate_hz)
            held = [joined[wanted:]]
    if held and sum(map(len, held)):
        yield Waveform(np.concatenate(held)[: round(window_s * rate_hz)], rate_hz)


def _films(source: Any, window_s: float, frames_per_second: float, used: Used) -> Iterator[Frames]:
    if isinstance(source, Frames):
        frames = thinned(source, frames_per_second)
        wanted = max(1, round(window_s * (frames.frames_per_second or frames_per_second)))
        for start in range(0, len(frames.images), wanted):
            yield Frames(frames.images[start : start + wanted], frames.frames_per_second)
        return
    # A picture that is due at a window's end may come a little before it.
    step_s = 0.5 / frames_per_second
    for _, timed in groupby(film(source, frames_per_second, used), lambda one: int((one[1] + step_s) // window_s)):
        images = [image for image, _ in timed]
        if any(image.shape != images[0].shape for image in images):
            raise DataError("the film changes its picture size on the way; convert it to one size")
        yield Frames(np.stack(images), frames_per_second)
