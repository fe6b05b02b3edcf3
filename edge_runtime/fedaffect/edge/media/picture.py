"""Pictures and video: decoded to RGB at a steady, bounded rate and size."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.source import Stored, describe, open_stored
from fedaffect.edge.sample import Frames, Video

MAX_SIDE: Final = 640
MAX_PIXELS: Final = 64_000_000
# What Pillow's decoders raise on damaged files.
_DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


def decode_video(source: Video, frames_per_second: float, max_frames: int) -> Frames:
    """Decode a picture, or a video at ``frames_per_second``, to RGB frames of at most 640 pixels a side.

    Parameters
    ----------
    source : Path, bytes, ZipMember or Frames
        A picture (JPEG, PNG, …), a video (MP4, WebM, …) or decoded frames.
    frames_per_second : float
        Of a faster video, the first frame at or after every ``1 / frames_per_second`` is taken.
    max_frames : int
        What comes after is not read.

    Returns
    -------
    Frames
        uint8 images of shape (N, H, W, 3), N at least 1; ``frames_per_second`` is 0 for a still picture.

    Raises
    ------
    DataError
        If it is missing, damaged, larger than 64 megapixels, or holds no picture.
    """
    if isinstance(source, Frames):
        return _thin(source, frames_per_second, max_frames)
    stored, name = open_stored(source), describe(source)
    picture = _read_picture(stored, name)
    if picture is not None:
        return Frames(picture[None], 0.0)
    return _read_video(stored, name, frames_per_second, max_frames)


def _thin(frames: Frames, frames_per_second: float, max_frames: int) -> Frames:
    images = frames.images
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape or images.dtype != np.uint8:
        raise DataError(f"{describe(frames)}, {images.dtype}: give RGB as uint8 of shape (N, H, W, 3), N of 1 or more")
    rate_hz = frames.frames_per_second
    if rate_hz > frames_per_second:
        count = max(1, int(len(images) * frames_per_second / rate_hz + 0.5))
        at = np.floor(np.arange(count) * rate_hz / frames_per_second + 0.5).astype(int)
        images, rate_hz = images[np.minimum(at, len(images) - 1)], frames_per_second
    return Frames(images[:max_frames], rate_hz)


def _read_picture(stored: BytesIO | Path, name: str) -> NDArray[np.uint8] | None:
    """The picture, (H, W, 3), or None where this is not a picture file."""
    try:
        with Image.open(stored) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name} has {image.width} x {image.height} pixels; scale it below 64 megapixels")
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError:
        return None
    except _DAMAGE as error:
        raise DataError(f"{name} cannot be decoded as a picture ({error}); take or download it again") from error
    upright.thumbnail((MAX_SIDE, MAX_SIDE))
    return np.asarray(upright, dtype=np.uint8)


def _read_video(stored: BytesIO | Path, name: str, frames_per_second: float, max_frames: int) -> Frames:
    images = [image for image, _ in islice(_film(stored, name, frames_per_second), max_frames)]
    if not images:
        raise DataError(f"{name} holds no pictures; leave it out or record it again")
    if any(image.shape != images[0].shape for image in images):
        raise DataError(f"{name} changes its picture size on the way; convert it to one size")
    return Frames(np.stack(images), frames_per_second)


def film(source: Stored, frames_per_second: float) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Pictures of a video as they are decoded, however long it is, each with its time in seconds from the first.

    Raises
    ------
    DataError
        On the way, where the file is missing, damaged, or holds no pictures.
    """
    return _film(open_stored(source), describe(source), frames_per_second)


def _film(
    stored: BytesIO | Path, name: str, frames_per_second: float
) -> Generator[tuple[NDArray[np.uint8], float], None, None]:
    if isinstance(stored, BytesIO):
        stored.seek(0)
    count, start_s = 0, None
    try:
        with av.open(str(stored) if isinstance(stored, Path) else stored, mode="r") as container:
            if not container.streams.video:
                raise DataError(f"{name} has no pictures; leave video out or use another file")
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"
            for frame in container.decode(stream):
                time_s = frame.time if frame.time is not None else count / frames_per_second
                start_s = time_s if start_s is None else start_s
                # Half a millisecond forgives timestamps that were rounded down.
                if time_s - start_s + 5e-4 < count / frames_per_second:
                    continue
                yield upright_rgb(frame), time_s - start_s
                count += 1
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"{name} cannot be decoded as video ({error}); download or record it again") from error


def upright_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """A decoded frame as RGB of at most 640 pixels a side, turned as it is to be seen: (H, W, 3)."""
    shrink = min(1.0, MAX_SIDE / max(frame.width, frame.height))
    size = max(1, round(frame.width * shrink)), max(1, round(frame.height * shrink))
    rgb = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    # Telephones film lying on their side and say so beside the picture; degrees, counterclockwise.
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)), dtype=np.uint8)


def resize(
    image: NDArray[np.uint8], size: int, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    """A square region of a picture, antialiased, at ``size`` × ``size``.

    Parameters
    ----------
    image : uint8 array, shape (H, W, 3)
        RGB.
    size : int
        Side wanted, in pixels.
    box : tuple of float, optional
        Left, top, right, bottom; the whole picture if not given. Parts outside the picture are black.

    Returns
    -------
    uint8 array, shape (size, size, 3)
    """
    if box is None:
        picture = Image.fromarray(image)
    else:
        left, top = int(np.floor(box[0])), int(np.floor(box[1]))
        right, bottom = max(left + 1, int(np.ceil(box[2]))), max(top + 1, int(np.ceil(box[3])))
        picture = cut(image, (left, top, right, bottom))
    if picture.size == (size, size):
        return np.asarray(picture)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def cut(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Image.Image:
    """A region of a picture, black where it reaches beyond; only what it shows is copied.

    Parameters
    ----------
    image : uint8 array, shape (H, W, 3)
        RGB.
    box : tuple of int
        Left, top, right, bottom.
    """
    height, width = image.shape[:2]
    left, right = (min(max(edge, 0), width) for edge in (box[0], box[2]))
    top, bottom = (min(max(edge, 0), height) for edge in (box[1], box[3]))
    if left >= right or top >= bottom:
        return Image.new("RGB", (box[2] - box[0], box[3] - box[1]))
    shown = Image.fromarray(image[top:bottom, left:right])
    return shown.crop((box[0] - left, box[1] - top, box[2] - left, box[3] - top))
