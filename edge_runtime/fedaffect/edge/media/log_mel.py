"""Log-mel spectrogram as Whisper was trained on, in numpy.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), section 2.2: 25 ms Hann windows
every 10 ms, a mel filter bank, log10, clamped 8 below the clip's highest value and scaled to about [-1, 1].
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ: Final = 16_000
HOP: Final = 160
_WINDOW: Final = 400
FRAMES_PER_SECOND: Final = SAMPLE_RATE_HZ / HOP
# Multiplications from which OpenBLAS shares a product among the cores; its threads then wait busily for the next one,
# a tenth of a second each time, which for one sound after another is a whole core.
_SHARED_FROM: Final = 262_144


def log_mel(samples: NDArray[np.float32], bands: int = 80) -> NDArray[np.float32]:
    """Log-mel spectrogram of a clip at its real length, without padding to 30 s.

    Parameters
    ----------
    samples : float32 array, shape (N,)
        At 16 kHz; fewer than one window (25 ms) are padded with zeros.
    bands : int
        Mel bands.

    Returns
    -------
    float32 array, shape (bands, max(N, 400) // 160)
    """
    if len(samples) < _WINDOW:
        samples = np.pad(samples, (0, _WINDOW - len(samples)))
    padded = np.pad(samples.astype(np.float64), _WINDOW // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::HOP][: len(samples) // HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2  # (T, 201)
    spectrum = np.log10(np.maximum(_alone(power, mel_filters(bands)), 1e-10)).T  # (bands, T)
    scaled: NDArray[np.float64] = (np.maximum(spectrum, spectrum.max() - 8.0) + 4.0) / 4.0
    return scaled.astype(np.float32)


def _alone(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """``left @ right`` on this thread alone."""
    product = np.empty((len(left), right.shape[1]))
    rows = max(1, _SHARED_FROM // right.size)
    for place in range(0, len(left), rows):
        np.matmul(left[place : place + rows], right, out=product[place : place + rows])
    return product


@lru_cache(maxsize=4)
def mel_filters(bands: int) -> NDArray[np.float64]:
    """Triangular filters of equal area, evenly spaced on Slaney's mel scale up to 8 kHz.

    M. Slaney, "Auditory Toolbox" (1998): linear below 1 kHz, logarithmic above.

    Returns
    -------
    float64 array, shape (201, bands)
    """
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE_HZ / 2), bands + 2))
    frequencies = np.linspace(0.0, SAMPLE_RATE_HZ / 2, _WINDOW // 2 + 1)
    slopes = edges[None, :] - frequencies[:, None]  # (201, bands + 2)
    widths = np.diff(edges)
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return filters * (2.0 / (edges[2:] - edges[:-2]))


_LINEAR_HZ: Final = 200.0 / 3
_BREAK_HZ: Final = 1000.0
_BREAK_MEL: Final = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP: Final = float(np.log(6.4) / 27.0)


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ if hz < _BREAK_HZ else _BREAK_MEL + float(np.log(hz / _BREAK_HZ)) / _LOG_STEP


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, above)
