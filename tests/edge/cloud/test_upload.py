from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.cloud.upload import audio_bytes, video_bytes
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.media.sound import decode_audio
from fedaffect.edge.sample import Frames, Waveform


def test_sound_comes_back_to_16_bits() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 16000).astype(np.float32)
    decoded = decode_audio(audio_bytes(Waveform(samples, 16000)))
    assert decoded.sample_rate_hz == 16000
    assert np.abs(decoded.samples - samples).max() <= 2 / 32768


@pytest.mark.parametrize("count", [1, 2, 15])
@pytest.mark.parametrize("size", [(48, 64), (49, 65)])
def test_pictures_come_back_in_number_size_pace_and_colour(count: int, size: tuple[int, int]) -> None:
    images = np.zeros((count, *size, 3), np.uint8)
    images[:, :, : size[1] // 2] = (200, 40, 40)
    images[:, :, size[1] // 2 :] = np.linspace(0, 255, count).astype(np.uint8)[:, None, None, None]
    decoded = decode_video(video_bytes(Frames(images, 5.0)), 5.0, 30)
    assert decoded.images.shape == images.shape
    assert np.abs(decoded.images.astype(int) - images).mean() < 6
    assert decoded.frames_per_second == (5.0 if count > 1 else 0.0)


def test_what_is_packed_again_is_the_same() -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3)).astype(np.uint8)
    assert video_bytes(Frames(images, 5.0)) == video_bytes(Frames(images, 5.0))


def test_stored_media_travel_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"the file's own bytes")
    assert video_bytes(tmp_path / "clip.mp4") == b"the file's own bytes"
    assert audio_bytes(b"RIFF") == b"RIFF"


@pytest.mark.parametrize(
    "source",
    [
        Waveform(np.zeros(0, np.float32), 16000),
        Waveform(np.full(10, np.nan, np.float32), 16000),
        Waveform(np.zeros(10, np.float32), 0),
        Waveform(np.zeros((10, 2), np.float32), 16000),
        b"",
        Path("/nowhere/clip.wav"),
    ],
)
def test_sound_that_cannot_be_sent(source: Waveform | bytes | Path) -> None:
    with pytest.raises(DataError):
        audio_bytes(source)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 4, 4), (1, 4, 4, 4)])
def test_pictures_that_cannot_be_sent(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError):
        video_bytes(Frames(np.zeros(shape, np.uint8), 5.0))
