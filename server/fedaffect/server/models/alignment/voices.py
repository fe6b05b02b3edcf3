"""Voices as other rooms, microphones and throats would give them: constructed copies of real clips."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.media.sound import decode_audio
from fedaffect.edge.sample import Waveform
from fedaffect.server.models.alignment.varied import VariedEncoder

_SPEEDS: Final = (0.87, 1.15)
_NOISE_DB: Final = (8.0, 35.0)
_CUT_HZ: Final = (3200.0, 8000.0)
_REVERBERATION_S: Final = (0.1, 0.6)
_LEAST_S: Final = 1.2


class VariedVoice(VariedEncoder):
    """An encoder that hears each clip through a room, a microphone and at a pace drawn from a seed.

    Parameters
    ----------
    encoder : Encoder
        Of voices.
    copy : int
        Which copy; with the clip's samples it decides every draw.
    """

    modality = "audio"
    edition = 1

    def prepare(self, source: Any) -> Prepared:
        """Decode, change, and prepare as the encoder does."""
        return self._encoder.prepare(vary(decode_audio(source), self._copy))


def vary(sound: Waveform, copy: int) -> Waveform:
    """A clip as another speaker's pace, another room and another microphone would give it.

    Each change comes by chance: pace and pitch together by up to 15 %, a shorter excerpt, reverberation, a narrower
    band, and noise of 8 to 35 dB below the voice.

    Parameters
    ----------
    sound : Waveform
        The clip.
    copy : int
        With the clip's samples, decides every draw.
    """
    digest = sha256(np.ascontiguousarray(sound.samples).tobytes()).digest()
    draw = np.random.default_rng([copy, int.from_bytes(digest[:8], "little")])
    samples, rate = sound.samples.astype(np.float64), sound.sample_rate_hz
    if draw.random() < 0.3:
        samples = _excerpt(samples, rate, draw)
    if draw.random() < 0.4:
        samples = _in_a_room(samples, rate, draw)
    if draw.random() < 0.5:
        samples = _through_a_microphone(samples, rate, draw)
    if draw.random() < 0.7:
        samples = _with_noise(samples, draw)
    # Sound that is said to have another rate is resampled to the encoder's, and so becomes faster and higher.
    pace = draw.uniform(*_SPEEDS) if draw.random() < 0.8 else 1.0
    return Waveform((samples / max(1.0, float(np.abs(samples).max()))).astype(np.float32), round(rate * pace))


def _excerpt(samples: NDArray[np.float64], rate: int, draw: np.random.Generator) -> NDArray[np.float64]:
    length = int(draw.uniform(0.5, 1.0) * len(samples))
    if length < _LEAST_S * rate:
        return samples
    start = int(draw.integers(0, len(samples) - length + 1))
    return samples[start : start + length]


def _in_a_room(samples: NDArray[np.float64], rate: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Convolve with noise that fades by 60 dB in the room's reverberation time, the direct sound before it."""
    seconds = draw.uniform(*_REVERBERATION_S)
    times = np.arange(int(seconds * rate)) / rate
    echo = draw.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    echo *= draw.uniform(0.2, 0.8) / np.sqrt(np.square(echo).sum())
    echo[0] += 1.0
    size = 1 << (len(samples) + len(echo)).bit_length()
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)[: len(samples)]


def _through_a_microphone(samples: NDArray[np.float64], rate: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Tilt the spectrum by up to 6 dB a decade, and cut it above and below as small devices do."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    tilt = (np.maximum(frequencies, 50.0) / 1000.0) ** draw.uniform(-0.3, 0.3)
    above = 1 / (1 + (frequencies / draw.uniform(*_CUT_HZ)) ** 8)
    below = 1 / (1 + (draw.uniform(20.0, 250.0) / np.maximum(frequencies, 1.0)) ** 4)
    return np.fft.irfft(np.fft.rfft(samples) * tilt * np.sqrt(above * below), len(samples))


def _with_noise(samples: NDArray[np.float64], draw: np.random.Generator) -> NDArray[np.float64]:
    """Add noise whose power falls with frequency by a drawn exponent."""
    spectrum = np.fft.rfft(draw.standard_normal(len(samples)))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-0.5 * draw.uniform(0.0, 1.5))
    noise = np.fft.irfft(spectrum, len(samples))
    level = np.sqrt(np.square(samples).mean() / max(np.square(noise).mean(), 1e-12))
    noisy: NDArray[np.float64] = samples + noise * level * 10 ** (-draw.uniform(*_NOISE_DB) / 20)
    return noisy
