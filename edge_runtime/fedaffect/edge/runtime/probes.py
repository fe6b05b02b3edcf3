"""A drawn face and a sound like a voice: what speed is measured on where nobody sits before the camera."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.sample import Frames, Sample, Waveform

SAMPLE_RATE_HZ: Final = 16_000
TWENTY_WORDS: Final = "i really did not think that they would come today but now that you are all here i am happy"
_DRAWN: Final = 240


def drawn_face(
    side: int = 110, size: tuple[int, int] = (480, 640), at: tuple[int, int] = (120, 200)
) -> NDArray[np.uint8]:
    """A drawn face in a grey picture, which CenterFace takes for one: uint8, (H, W, 3).

    Parameters
    ----------
    side : int
        Of the face, in pixels.
    size : tuple of int
        H, W of the picture.
    at : tuple of int
        Row and column of the face's upper left corner.
    """
    row, column = np.mgrid[-1 : 1 : _DRAWN * 1j, -1 : 1 : _DRAWN * 1j]
    image = np.full((_DRAWN, _DRAWN, 3), 60, np.float32)

    def ellipse(x: float, y: float, width: float, height: float) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = ((column - x) / width) ** 2 + ((row - y) / height) ** 2 < 1
        return inside

    skin, hair = (205, 165, 140), (50, 35, 25)
    image[ellipse(0, 0, 0.72, 0.95)] = skin
    image[ellipse(0, 0, 0.8, 1.0) & (row < -0.55)] = hair
    for eye in (-0.3, 0.3):
        image[ellipse(eye, -0.15, 0.17, 0.08)] = 240
        image[ellipse(eye, -0.15, 0.07, 0.07)] = 25
        image[(np.abs(column - eye) < 0.2) & (np.abs(row + 0.32) < 0.035)] = hair
    image[(np.abs(column) < 0.06) & (np.abs(row - 0.12) < 0.2)] = (180, 135, 110)
    image[ellipse(0, 0.52, 0.3, 0.09)] = (150, 50, 55)
    scene = np.full((*size, 3), 120, np.uint8)
    drawn = np.asarray(Image.fromarray(image.astype(np.uint8)).resize((side, side), Image.Resampling.LANCZOS))
    scene[at[0] : at[0] + side, at[1] : at[1] + side] = drawn
    return scene


def drawn_frames(seconds: float = 3.0, frames_per_second: float = 5.0) -> Frames:
    """A face that sways by a third of its width within three seconds, as somebody does who talks."""
    count = max(1, round(seconds * frames_per_second))
    sway = np.round(18 * np.sin(np.arange(count) / frames_per_second * 2 * np.pi / 3)).astype(int)
    return Frames(np.stack([drawn_face(at=(120, 200 + shift)) for shift in sway]), frames_per_second)


def spoken(seconds: float = 3.0) -> Waveform:
    """A gliding pulse train through moving resonances, with pauses and a little noise: a voice to Silero."""
    rng = np.random.default_rng(7)
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitch_hz = 140 + 50 * np.sin(2 * np.pi * 0.7 * time_s) + 10 * np.sin(2 * np.pi * 5 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    formants_hz = 500 + 300 * np.sin(2 * np.pi * 1.3 * time_s), 1500 + 500 * np.sin(2 * np.pi * 0.9 * time_s)
    sound = np.zeros_like(time_s)
    for harmonic in range(1, 25):
        gain = sum(np.exp(-(((harmonic * pitch_hz - formant) / 250) ** 2)) for formant in formants_hz)
        sound += gain * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.2 * time_s) + 0.4, 0, 1)
    return Waveform((0.1 * sound * syllables + rng.normal(0, 0.002, len(time_s))).astype(np.float32), SAMPLE_RATE_HZ)


def probe_sample(seconds: float = 3.0) -> Sample:
    """Decoded media of one utterance: 5 frames a second, sound, and twenty words."""
    return Sample(id="probe", text=TWENTY_WORDS, audio=spoken(seconds), video=drawn_frames(seconds))
