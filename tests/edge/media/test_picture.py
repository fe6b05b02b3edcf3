from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.picture import decode_video, resize
from fedaffect.edge.sample import Frames


def write_video(path: Path, frames: int, rate: int, size: tuple[int, int] = (96, 64)) -> None:
    """A video whose brightness grows by the frame."""
    codec = {".mp4": "mpeg4", ".webm": "libvpx"}[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            image = np.full((size[1], size[0], 3), index * 200 // frames + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def png(image: np.ndarray, **options: object) -> bytes:
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_video_is_thinned_to_the_rate(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    write_video(path, 60, 30)
    frames = decode_video(path, 5.0, 150)
    assert frames.images.shape == (10, 64, 96, 3)
    assert frames.frames_per_second == 5.0
    brightness = frames.images.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(brightness, np.arange(0, 60, 6) * 200 // 60 + 20, atol=6)
    np.testing.assert_array_equal(decode_video(path.read_bytes(), 5.0, 150).images, frames.images)
    assert len(decode_video(path, 5.0, 4).images) == 4


def test_large_video_is_scaled_while_decoding(tmp_path: Path) -> None:
    write_video(tmp_path / "large.mp4", 3, 30, (1280, 720))
    assert decode_video(tmp_path / "large.mp4", 5.0, 150).images.shape == (1, 360, 640, 3)


def test_slow_video_keeps_every_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "slow.mp4", 4, 2)
    assert len(decode_video(tmp_path / "slow.mp4", 5.0, 150).images) == 4


def test_decoded_frames_are_thinned() -> None:
    images = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    thin = decode_video(Frames(images, 10.0), 5.0, 150)
    np.testing.assert_array_equal(thin.images[:, 0, 0, 0], np.arange(0, 20, 2))
    assert decode_video(Frames(images, 0.0), 5.0, 150).images.shape == images.shape


def test_pictures_of_any_mode_become_rgb() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    frames = decode_video(png(grey), 5.0, 150)
    assert frames.frames_per_second == 0.0
    np.testing.assert_array_equal(frames.images, np.repeat(grey[None, :, :, None], 3, axis=3))


def test_pictures_are_turned_upright() -> None:
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_video(png(image, exif=exif), 5.0, 1).images.shape == (1, 20, 10, 3)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Path("nowhere/face.png"), r"face\.png"),
        (b"no picture" * 30, "300 bytes"),
        (png(np.zeros((40, 40, 3), np.uint8))[:60], "60 bytes"),
        (Frames(np.zeros((0, 4, 4, 3), np.uint8)), "shape"),
        (Frames(np.zeros((1, 4, 4), np.uint8)), "shape"),
    ],
)
def test_what_is_broken_is_named(source: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        decode_video(source, 5.0, 150)  # type: ignore[arg-type]


def test_region_outside_the_picture_is_black() -> None:
    region = resize(np.full((10, 10, 3), 200, np.uint8), 20, (-10, 0, 10, 20))
    assert region.shape == (20, 20, 3)
    assert not region[:, :10].any()
    assert not region[10:].any()
    assert (region[:10, 10:] == 200).all()
