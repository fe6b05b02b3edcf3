"""Media as one file's bytes, the way both faces take it."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from typing import Final

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]
from PIL import Image

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.source import Stored, describe, open_stored
from fedaffect.edge.sample import Audio, Frames, Video, Waveform

# Of 100; above it, pictures grow without an encoder seeing more.
_JPEG_QUALITY: Final = 92
# FFmpeg's scale for Motion JPEG, 2 (best) to 31; 3 is about what 92 is for Pillow.
_MJPEG_QUANTISER: Final = 3
# Frames whose rate nobody told are sent at the pace that the encoders look at them.
_UNTOLD_RATE_HZ: Final = 5.0
# No random ids in the file: a question asked again is the same one, byte for byte, or the cloud refuses its id.
_REPEATABLE: Final = {"fflags": "+bitexact"}


def audio_bytes(source: Audio) -> bytes:
    """A sound as a file: its own bytes, or 16 bit FLAC of decoded sound.

    Raises
    ------
    DataError
        If it is missing or empty, or decoded sound is not finite, mono and at a positive rate.
    """
    if not isinstance(source, Waveform):
        return _stored_bytes(source)
    samples = np.asarray(source.samples, dtype=np.float32)
    if samples.ndim != 1 or samples.size == 0 or source.sample_rate_hz <= 0 or not np.isfinite(samples).all():
        raise DataError(f"{describe(source)} cannot be sent; give finite mono sound of shape (N,) at a positive rate")
    file = BytesIO()
    try:
        soundfile.write(file, np.clip(samples, -1.0, 1.0), source.sample_rate_hz, format="FLAC", subtype="PCM_16")
    except (soundfile.LibsndfileError, ValueError) as error:
        raise DataError(f"{describe(source)} cannot be packed as FLAC ({error}); resample it to 16000 Hz") from error
    return file.getvalue()


def video_bytes(source: Video) -> bytes:
    """Pictures as a file: its own bytes, JPEG of one frame, or Motion JPEG in Matroska of several.

    Each picture stands for itself in Motion JPEG: five a second leave a codec between frames nothing to save, and
    no face is smeared into the next.

    Raises
    ------
    DataError
        If it is missing or empty, or frames are not RGB of shape (N, H, W, 3).
    """
    if not isinstance(source, Frames):
        return _stored_bytes(source)
    images = source.images
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape or images.dtype != np.uint8:
        raise DataError(f"{describe(source)}, {images.dtype}: give RGB as uint8 of shape (N, H, W, 3), N of 1 or more")
    file = BytesIO()
    if len(images) == 1:
        Image.fromarray(images[0]).save(file, "JPEG", quality=_JPEG_QUALITY)
        return file.getvalue()
    rate_hz = source.frames_per_second if source.frames_per_second > 0 else _UNTOLD_RATE_HZ
    try:
        with av.open(file, mode="w", format="matroska", options=_REPEATABLE) as container:
            stream = container.add_stream("mjpeg", rate=Fraction(rate_hz).limit_denominator(1000))
            stream.height, stream.width = images.shape[1:3]
            stream.pix_fmt = "yuvj420p"
            stream.codec_context.qmin = stream.codec_context.qmax = _MJPEG_QUANTISER
            for image in images:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"{describe(source)} cannot be packed as video ({error}); send fewer or smaller") from error
    return file.getvalue()


def _stored_bytes(source: Stored) -> bytes:
    with open_stored(source) as file:
        try:
            return file.read()
        except OSError as error:
            raise DataError(f"{describe(source)} cannot be read ({error.strerror}); check its permissions") from error
