"""Pictures and video: decoded to RGB at a steady, bounded rate and size."""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Any, BinaryIO, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.opening import (
    FFMPEG_DAMAGE,
    MAX_PIXELS,
    Used,
    decoded,
    is_heif,
    length_s,
    open_container,
    open_picture,
    reason,
    tracks,
)
from fedaffect.edge.media.source import Stored, describe, open_stored
from fedaffect.edge.sample import Frames, Video

MAX_SIDE: Final = 640
_WHITE_8: Final = 255
_WHITE_16: Final = 65_535
_WIDEST: Final = 4.0
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
    return seen(source, frames_per_second, max_frames)[0]


def seen(source: Video, frames_per_second: float, max_frames: int) -> tuple[Frames, tuple[str, ...]]:
    """As `decode_video`, with a note of what was not seen."""
    if isinstance(source, Frames):
        return _thin(source, frames_per_second, max_frames)
    name = describe(source)
    with open_stored(source) as file:
        picture = _read_picture(file, name)
        if picture is not None:
            image, notes = picture
            return Frames(image[None], 0.0), notes
        if is_heif(file):
            raise DataError(f"{name} is a HEIC picture, which is not read; save it as JPEG")
        file.seek(0)
        frames, notes = _read_video(file, name, frames_per_second, max_frames)
    return frames, notes


def _cut_note(seen_s: float, whole_s: float | None) -> tuple[str, ...]:
    of = f" of {round(whole_s, 1):g} s" if whole_s is not None and whole_s > seen_s else ""
    return (f"only the first {seen_s:g} s{of} were seen",)


def _thin(frames: Frames, frames_per_second: float, max_frames: int) -> tuple[Frames, tuple[str, ...]]:
    frames = thinned(frames, frames_per_second)
    images, rate_hz = frames.images, frames.frames_per_second
    notes: tuple[str, ...] = ()
    if len(images) > max_frames:
        pace_hz = rate_hz or frames_per_second
        notes = _cut_note(max_frames / pace_hz, len(images) / pace_hz)
    return Frames(images[:max_frames], rate_hz), notes


def thinned(frames: Frames, frames_per_second: float) -> Frames:
    """Of decoded frames that come faster than ``frames_per_second``, those nearest to its pace.

    Raises
    ------
    DataError
        If they are not RGB of shape (N, H, W, 3).
    """
    images = frames.images
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape or images.dtype != np.uint8:
        raise DataError(f"{describe(frames)}, {images.dtype}: give RGB as uint8 of shape (N, H, W, 3), N of 1 or more")
    rate_hz = frames.frames_per_second
    if rate_hz <= frames_per_second:
        return frames
    count = max(1, int(len(images) * frames_per_second / rate_hz + 0.5))
    at = np.floor(np.arange(count) * rate_hz / frames_per_second + 0.5).astype(int)
    return Frames(images[np.minimum(at, len(images) - 1)], frames_per_second)


def _read_picture(file: BinaryIO, name: str) -> tuple[NDArray[np.uint8], tuple[str, ...]] | None:
    """The picture, (H, W, 3), with notes, or None where this is not a picture file."""
    try:
        image = open_picture(file)
        if image is None:
            return None
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name} has {image.width} x {image.height} pixels; scale it below 64 megapixels")
            moving = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
            image.seek(0)
            upright = as_shown(ImageOps.exif_transpose(image), name)
    except _DAMAGE as error:
        raise DataError(f"{name} cannot be decoded as a picture ({error}); take or download it again") from error
    upright.thumbnail((MAX_SIDE, MAX_SIDE))
    notes = ("only the first of its pictures was seen",) if moving else ()
    return np.asarray(upright, dtype=np.uint8), notes


def as_shown(image: Image.Image, name: str) -> Image.Image:
    """A picture in the colours that a person sees: RGB of 8 bits, on white where it is transparent.

    Raises
    ------
    DataError
        If nobody can know which of its numbers is black and which white.
    """
    if image.mode.startswith("I"):
        # Pillow's own conversion would clip 16 bits at 255.
        levels = np.asarray(image)
        low, high = int(levels.min(initial=0)), int(levels.max(initial=0))
        if low < 0 or high > _WHITE_16:
            raise DataError(f"{name} has grey levels from {low} to {high}; save it with 8 or 16 bits")
        deep = image.mode.startswith("I;16") or high > _WHITE_8
        image = Image.fromarray((levels // (_WHITE_8 + 2) if deep else levels).astype(np.uint8))
    elif image.mode == "F":
        raise DataError(f"{name} has fractions for grey levels; save it with 8 or 16 bits")
    elif image.has_transparency_data:
        shown = Image.new("RGBA", image.size, "white")
        shown.alpha_composite(image.convert("RGBA"))
        image = shown
    return image.convert("RGB")


def _read_video(file: BinaryIO, name: str, frames_per_second: float, max_frames: int) -> tuple[Frames, tuple[str, ...]]:
    used = Used()
    # One more than is wanted shows whether there is more.
    images = [image for image, _ in islice(film_in(file, name, frames_per_second, used), max_frames + 1)]
    if not images:
        raise DataError(f"{name} holds no pictures; leave it out or record it again")
    if any(image.shape != images[0].shape for image in images):
        raise DataError(f"{name} changes its picture size on the way; convert it to one size")
    notes = used.notes("film")
    if len(images) > max_frames:
        file.seek(0)
        notes = (*_cut_note(max_frames / frames_per_second, length_s(file)), *notes)
    return Frames(np.stack(images[:max_frames]), frames_per_second), notes


def film(
    source: Stored, frames_per_second: float, used: Used | None = None
) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Pictures of a video as they are decoded, however long it is, each with its time in seconds from the first.

    Parameters
    ----------
    source : Path, bytes or ZipMember
    frames_per_second : float
        As of `decode_video`.
    used : Used, optional
        Told what cannot be used.

    Raises
    ------
    DataError
        On the way, where the file is missing, damaged, or holds no pictures.
    """
    with open_stored(source) as file:
        yield from film_in(file, describe(source), frames_per_second, used or Used())


def film_in(
    file: BinaryIO, name: str, frames_per_second: float, used: Used
) -> Generator[tuple[NDArray[np.uint8], float], None, None]:
    """As `film`, of an open file that messages call ``name``."""
    count = 0
    start_s: float | None = None
    shown: av.VideoFrame | None = None
    try:
        with open_container(file) as container:
            if not (found := tracks(container, "video")):
                raise DataError(f"{name} has no pictures; leave video out or use another file")
            stream = found[0]
            stream.thread_type = "SLICE"
            aspect = pixel_aspect(stream)
            for frame in decoded(container, stream, used):
                said_s: float | None = None
                if isinstance(frame, av.VideoFrame):
                    shown, said_s = frame, frame.time
                elif frame is not None:
                    said_s = float(frame)
                if shown is None:
                    continue
                time_s: float = said_s if said_s is not None else count / frames_per_second
                start_s = time_s if start_s is None else start_s
                # Half a millisecond forgives timestamps that were rounded down.
                if time_s - start_s + 5e-4 < count / frames_per_second:
                    continue
                yield upright_rgb(shown, aspect), time_s - start_s
                count += 1
    except FFMPEG_DAMAGE as error:
        raise DataError(f"{name} cannot be decoded as video ({reason(error)}); download or record it again") from error


def pixel_aspect(stream: Any) -> float:
    """How much wider than high a video's pixels are; 1 where it says nothing or nonsense."""
    aspect = float(stream.sample_aspect_ratio or 1)
    return aspect if 1 / _WIDEST <= aspect <= _WIDEST else 1.0


def upright_rgb(frame: av.VideoFrame, aspect: float = 1.0) -> NDArray[np.uint8]:
    """A decoded frame as RGB of at most 640 pixels a side, turned and stretched as it is to be seen: (H, W, 3)."""
    shown = frame.width * aspect
    shrink = min(1.0, MAX_SIDE / max(shown, frame.height))
    size = max(1, round(shown * shrink)), max(1, round(frame.height * shrink))
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
