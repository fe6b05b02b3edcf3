"""What a cloud takes in one question, and how a device keeps within it: it sends what it used itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO, Final

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.opening import FFMPEG_DAMAGE, length_s, open_container, open_picture, tracks
from fedaffect.edge.media.source import open_stored
from fedaffect.edge.sample import Frames, Sample, Waveform

# A server's limits begin with these; an operator may lower them, and then a device learns of it by a refusal.
TEXT_CHARACTERS: Final = 10_000
CLIP_S: Final = 30.0
PICTURE_PIXELS: Final = 25_000_000
VIDEO_PIXELS: Final = 1920 * 1088
BODY_BYTES: Final = 32 * 2**20
# Of a body, for sound and pictures each.
_SHARE: Final = 15 * 2**20


def sendable(sample: Sample, used: Mapping[str, Waveform | Frames]) -> Sample:
    """A sample that a cloud takes: files that are too long or too large give way to the part that was used of them.

    Parameters
    ----------
    sample : Sample
        What was usable.
    used : mapping of str to Waveform or Frames
        Decoded, by modality, as far as it was used.
    """
    instead: dict[str, Any] = {name: part for name, part in used.items() if not _fits(getattr(sample, name), name)}
    if sample.text is not None and len(sample.text) > TEXT_CHARACTERS:
        instead["text"] = sample.text[:TEXT_CHARACTERS]
    return replace(sample, **instead) if instead else sample


def _fits(source: Any, modality: str) -> bool:
    if isinstance(source, Waveform):
        return len(source.samples) <= CLIP_S * source.sample_rate_hz
    if isinstance(source, Frames):
        return len(source.images) <= CLIP_S * (source.frames_per_second or len(source.images))
    try:
        with open_stored(source) as file:
            file.seek(0, 2)
            if file.tell() > _SHARE:
                return False
            file.seek(0)
            return _is_short(file) if modality == "audio" else _is_small(file)
    except (DataError, OSError, SyntaxError, *FFMPEG_DAMAGE):
        # Whether it can be read is not the question here.
        return True


def _is_short(file: BinaryIO) -> bool:
    seconds = length_s(file)
    return seconds is None or seconds <= CLIP_S


def _is_small(file: BinaryIO) -> bool:
    picture = open_picture(file)
    if picture is not None:
        with picture:
            return picture.width * picture.height <= PICTURE_PIXELS
    file.seek(0)
    with open_container(file) as container:
        small = all(film.width * film.height <= VIDEO_PIXELS for film in tracks(container, "video"))
    file.seek(0)
    return small and _is_short(file)
