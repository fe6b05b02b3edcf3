"""Acoustic features of a sound after Kamble et al. (section III-A): MFCC, log-mel, energy, pitch; denoised.

By scipy, which simulation has anyway: an audio library of its own would bring a compiler for these few transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import uniform_filter
from scipy.signal import savgol_filter

from fedaffect.edge import tokens
from fedaffect.edge.encoders.base import Prepared, key_of, map_each
from fedaffect.edge.media.log_mel import FRAMES_PER_SECOND, HOP, SAMPLE_RATE_HZ, mel_filters
from fedaffect.edge.media.sound import MAX_SECONDS, decode_audio, normalise_loudness, require_sound, resample

TOKENS_PER_SECOND: Final = 10.0
_CEPSTRA, _BANDS = 40, 64
WIDTH: Final = 3 * _CEPSTRA + _BANDS + 3
_LOUDNESS_DBFS: Final = -23.0
_WINDOW: Final = 400
# Share of frames that the noise is estimated from, how far above it speech is, and what is left of the rest.
_QUIET, _ABOVE, _LEFT = 0.1, 2.0, 0.1
_RANGE_DB: Final = 80.0
_DELTA_FRAMES: Final = 9
_PITCH_WINDOW: Final = 800
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 500.0
_VOICED: Final = 0.5
# What takes features of speech at this loudness to about mean 0 and deviation 1: a network starts from there.
_FIRST: Final = 8.0  # sqrt(64): the first cepstrum is the mean band times this
_OFFSETS: Final = np.concatenate([[35 * _FIRST], np.zeros(3 * _CEPSTRA - 1), np.full(_BANDS, 35.0), [-15.0, 0.0, 0.0]])
_SCALES: Final = np.concatenate(
    [
        [0.1 / _FIRST],
        np.full(4, 0.05),
        np.full(_CEPSTRA - 5, 0.1),
        np.full(_CEPSTRA, 0.5),
        np.full(_CEPSTRA, 2.0),
        np.full(_BANDS, 0.1),
        [0.1, 1.0, 1.0],
    ]
)


class Acoustics:
    """The features as an encoder; see `fedaffect.edge.encoders.base.Encoder`.

    Parameters
    ----------
    threads : int
        Clips at a time.
    """

    modality = "audio"
    width = WIDTH
    tokens_per_second = TOKENS_PER_SECOND

    def __init__(self, threads: int = 1) -> None:
        self.key = key_of({}, {"acoustics": 2, "width": WIDTH, "scipy": scipy.__version__})
        self._threads = threads

    def prepare(self, source: Any) -> Prepared:
        """Decoded, mono, 16 kHz, at one level, samples (N,).

        Raises
        ------
        DataError
            If it cannot be read, or is silent.
        """
        sound = resample(decode_audio(source, MAX_SECONDS), SAMPLE_RATE_HZ)
        require_sound(sound)
        return Prepared(normalise_loudness(sound, _LOUDNESS_DBFS).samples, len(sound.samples) / SAMPLE_RATE_HZ)

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Tokens of each clip, shape (T_i, 187)."""
        return map_each(_tokens, batch, self._threads)


def _tokens(prepared: Prepared) -> NDArray[np.float32]:
    return tokens.resample(descriptors(prepared.values), FRAMES_PER_SECOND, TOKENS_PER_SECOND, "mean")


def descriptors(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """40 MFCC with first and second differences, 64 log-mel bands, energy, pitch and voicing, 100 times a second.

    Parameters
    ----------
    samples : float32 array, shape (N,)
        At 16 kHz.

    Returns
    -------
    float32 array, shape (max(N, 400) // 160, 187)
        Levels in tens of decibels, around that of speech; pitch in octaves over 100 Hz, 0 where nothing is voiced;
        voicing from 0 to 1.
    """
    sound: NDArray[np.float64] = np.pad(samples, (0, max(0, _WINDOW - len(samples)))).astype(np.float64)
    count = len(sound) // HOP
    power = denoised(np.abs(np.fft.rfft(_frames(sound, _WINDOW, count), axis=1)) ** 2)  # (T, 201)
    bands = _decibels(power @ mel_filters(_BANDS))  # (T, 64)
    cepstra = dct(bands, type=2, axis=1, norm="ortho")[:, :_CEPSTRA]
    first = savgol_filter(cepstra, _DELTA_FRAMES, polyorder=1, deriv=1, axis=0, mode="nearest")
    second = savgol_filter(cepstra, _DELTA_FRAMES, polyorder=2, deriv=2, axis=0, mode="nearest")
    energy = _decibels(power.sum(axis=1, keepdims=True))
    features = np.concatenate([cepstra, first, second, bands, energy, pitch(sound, count)], axis=1)
    scaled: NDArray[np.float32] = ((features + _OFFSETS) * _SCALES).astype(np.float32)
    return scaled


def denoised(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spectral gating: what is not above the noise of the quietest tenth of all frames is turned down by 20 dB.

    Parameters
    ----------
    power : float64 array, shape (T, F)

    Returns
    -------
    float64 array, shape (T, F)
    """
    levels = power.sum(axis=1)
    noise = power[levels <= np.quantile(levels, _QUIET)].mean(axis=0)  # (F,)
    gain = np.where(power > _ABOVE * noise, 1.0, _LEFT)
    smooth: NDArray[np.float64] = uniform_filter(gain, size=(3, 3), mode="nearest")
    return power * smooth**2


def pitch(samples: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Fundamental frequency by autocorrelation (Boersma 1993, without the path through candidates).

    Parameters
    ----------
    samples : float64 array, shape (N,)
        At 16 kHz.
    count : int
        T, frames.

    Returns
    -------
    float64 array, shape (T, 2)
        Octaves over 100 Hz, 0 where nothing is voiced; the height of the autocorrelation's peak, 0 to 1.
    """
    frames = _frames(samples, _PITCH_WINDOW, count)
    size = 2 * _PITCH_WINDOW
    own = np.fft.irfft(np.abs(np.fft.rfft(frames, size, axis=1)) ** 2, axis=1)  # (T, 2 N)
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(_PITCH_WINDOW), size)) ** 2)
    lags = np.arange(int(SAMPLE_RATE_HZ / _HIGHEST_HZ), int(SAMPLE_RATE_HZ / _LOWEST_HZ) + 1)
    # The window's own autocorrelation is divided out, or short lags would always win.
    curves = own[:, lags] / np.maximum(own[:, :1], 1e-12) / (window[lags] / window[0])  # (T, lags)
    # Of peaks alike the shortest lag is the pitch, the others are its multiples.
    best = np.argmax(curves >= 0.9 * curves.max(axis=1, keepdims=True), axis=1)
    best = np.array([_top(curve, place) for curve, place in zip(curves, best, strict=True)])
    height = np.clip(curves[np.arange(count), best], 0.0, 1.0)
    octaves = np.log2(SAMPLE_RATE_HZ / lags[best] / 100.0)
    return np.stack([np.where(height >= _VOICED, octaves, 0.0), height], axis=1)


def _top(curve: NDArray[np.float64], place: int) -> int:
    """Uphill from a place to the next peak."""
    while place + 1 < len(curve) and curve[place + 1] > curve[place]:
        place += 1
    return place


def _frames(samples: NDArray[np.float64], window: int, count: int) -> NDArray[np.float64]:
    """Windowed frames every 10 ms around their times, shape (count, window)."""
    padded = np.pad(samples, window // 2, mode="reflect" if len(samples) > window // 2 else "constant")
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP][:count] * np.hanning(window)


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-10))
    floored: NDArray[np.float64] = np.maximum(level, level.max() - _RANGE_DB)
    return floored
