"""Media from outside: what it is, and whether it is within the limits."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.opening import (
    FFMPEG_DAMAGE,
    believed_s,
    is_heif,
    open_container,
    open_picture,
    open_sound,
    tracks,
)
from fedaffect.edge.media.picture import decode_video
from fedaffect.server.errors import InvalidRequest, RequestTooLarge

# A clip that was cut at the limit may be a frame longer.
_SLACK_S: Final = 0.5
_MAGIC: Final = (
    (b"\xff\xd8\xff", 0),
    (b"\x89PNG\r\n\x1a\n", 0),
    (b"GIF8", 0),
    (b"BM", 0),
    (b"II*\x00", 0),
    (b"MM\x00*", 0),
    (b"RIFF", 0),
    (b"RF64", 0),
    (b"fLaC", 0),
    (b"OggS", 0),
    (b"FORM", 0),
    (b"caff", 0),
    (b".snd", 0),
    (b"ID3", 0),
    (b"\xff\xfb", 0),
    (b"\xff\xf3", 0),
    (b"\xff\xf2", 0),
    (b"\xff\xfa", 0),
    (b"\xff\xf1", 0),
    (b"\xff\xf9", 0),
    (b"#!AMR", 0),
    (b"ftyp", 4),
    (b"moov", 4),
    (b"\x1aE\xdf\xa3", 0),
    (b"\x00\x00\x01\xba", 0),
    (b"\x00\x00\x01\xb3", 0),
    (b"FLV\x01", 0),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0),
    (b"G", 0),
)


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """How large a picture, film or sound may be; see `fedaffect.server.serving.gateway.limits.Limits`."""

    audio_s: float
    video_s: float
    audio_values_per_second: int
    picture_pixels: int
    video_pixels: int


def check_sound(data: bytes, limits: MediaLimits) -> None:
    """Look at a sound file's head and refuse what is beyond the limits; nothing is decoded.

    Parameters
    ----------
    data : bytes
        WAV, FLAC, OGG, MP3, or the sound track of an MP4 or WebM.

    Raises
    ------
    InvalidRequest
        If it is no sound.
    RequestTooLarge
        If it is too long, or holds too many values a second.
    """
    if not known(data):
        raise InvalidRequest("audio is no sound file that the server knows; send WAV, FLAC, OGG, MP3, MP4 or WebM")
    sound = open_sound(BytesIO(data))
    if sound is None or not sound.frames:
        _check_container(data, "audio", limits)
        return
    with sound:
        seconds = believed_s(sound.frames / max(sound.samplerate, 1))
        _refuse_long_sound(seconds, sound.samplerate * sound.channels, limits)


def check_pictures(data: bytes, limits: MediaLimits) -> None:
    """Look at a picture's or video's head and refuse what is beyond the limits; nothing is decoded.

    Parameters
    ----------
    data : bytes
        JPEG, PNG, MP4, WebM and the like.

    Raises
    ------
    InvalidRequest
        If it is neither picture nor video.
    RequestTooLarge
        If it has too many pixels or is too long.
    """
    if not known(data):
        raise InvalidRequest("video is no picture or video that the server knows; send JPEG, PNG, MP4 or WebM")
    if not _is_picture(data, limits):
        if is_heif(BytesIO(data)):
            raise InvalidRequest("video is a HEIC picture, which is not read; send JPEG")
        _check_container(data, "video", limits)


def _is_picture(data: bytes, limits: MediaLimits) -> bool:
    try:
        image = open_picture(BytesIO(data))
    except Image.DecompressionBombError:
        raise RequestTooLarge(_too_many_pixels("picture", limits.picture_pixels)) from None
    except (OSError, SyntaxError, ValueError):
        raise InvalidRequest("video cannot be opened as a picture; its file is damaged, save it again") from None
    if image is None:
        return False
    with image:
        if image.width * image.height > limits.picture_pixels:
            raise RequestTooLarge(_too_many_pixels("picture", limits.picture_pixels))
    return True


def decode_picture(data: bytes, limits: MediaLimits) -> NDArray[np.uint8]:
    """One picture of a stream, at most 640 pixels a side.

    Returns
    -------
    uint8 array, shape (H, W, 3)

    Raises
    ------
    InvalidRequest, RequestTooLarge
        As `check_pictures`, and if it is damaged.
    """
    if not known(data) or not _is_picture(data, limits):
        raise InvalidRequest("a picture of the stream is no picture that the server knows; send JPEG or PNG")
    try:
        picture: NDArray[np.uint8] = decode_video(data, 1.0, 1).images[0]
    except DataError:
        raise InvalidRequest("a picture of the stream cannot be decoded; send JPEG or PNG") from None
    return picture


def known(data: bytes) -> bool:
    """Whether a file begins as pictures, sounds or films do; its first 189 bytes are enough."""
    # "G" alone begins an MPEG transport stream, whose packets are 188 bytes long.
    return any(
        data.startswith(magic, at) and (magic != b"G" or data[188:189] == b"G" or data.startswith(b"GIF8"))
        for magic, at in _MAGIC
    )


def _check_container(data: bytes, field: str, limits: MediaLimits) -> None:
    """Head of a file that FFmpeg knows: a sound track where sound is wanted, pictures where pictures are."""
    try:
        with open_container(BytesIO(data)) as container:
            seconds = believed_s((container.duration or 0) / av.time_base)
            if field == "audio":
                if not (sounds := tracks(container, "audio")):
                    raise InvalidRequest("audio holds no sound; leave it out or send a file with a sound track")
                _refuse_long_sound(seconds, (sounds[0].rate or 0) * max(sounds[0].channels, 1), limits)
                return
            if not (films := tracks(container, "video")):
                raise InvalidRequest("video holds no pictures; leave it out or send a file with a picture track")
            if films[0].width * films[0].height > limits.video_pixels:
                raise RequestTooLarge(_too_many_pixels("video", limits.video_pixels))
            if seconds is not None and seconds > limits.video_s + _SLACK_S:
                raise RequestTooLarge(f"video lasts {seconds:.0f} s, more than {limits.video_s:g} s; cut it")
    except FFMPEG_DAMAGE:
        raise InvalidRequest(f"{field} cannot be opened; its file is damaged or cut off, save it again") from None


def _refuse_long_sound(seconds: float | None, values_per_second: int, limits: MediaLimits) -> None:
    if values_per_second > limits.audio_values_per_second:
        raise RequestTooLarge(
            f"audio has {values_per_second} values a second over all channels, more than "
            f"{limits.audio_values_per_second}; send 16 kHz mono"
        )
    if seconds is not None and seconds > limits.audio_s + _SLACK_S:
        raise RequestTooLarge(f"audio lasts {seconds:.0f} s, more than {limits.audio_s:g} s; cut it")


def _too_many_pixels(kind: str, most: int) -> str:
    return f"the {kind} has more than {most / 1e6:g} megapixels; scale it down"
