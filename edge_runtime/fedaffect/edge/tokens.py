"""One pace for every encoder: a sequence of feature vectors resampled to a fixed token rate."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError

STATISTICS: Final = ("mean", "mean_std")


def pooled_width(width: int, statistics: str) -> int:
    """Width of a token made from vectors of ``width``: the same for ``mean``, twice that for ``mean_std``."""
    _check(statistics)
    return 2 * width if statistics == "mean_std" else width


def resample(
    features: NDArray[np.float32], rate_hz: float, token_rate_hz: float, statistics: str = "mean"
) -> NDArray[np.float32]:
    """Pool a sequence into tokens by window statistics.

    Window k covers frames ``round(k r)`` to ``round((k + 1) r)`` with ``r = rate_hz / token_rate_hz``, so windows
    that are not a whole number of frames do not drift. A last window that is not full is kept when at least half of
    it is there. Every sequence gives at least one token. Where the tokens are to be faster than the frames, frames
    are repeated.

    Parameters
    ----------
    features : float32 array, shape (T, W)
        One vector a frame, T at least 1.
    rate_hz : float
        Frames a second.
    token_rate_hz : float
        Tokens a second wanted.
    statistics : {"mean", "mean_std"}
        What of a window becomes the token. The standard deviation over a window says how much the voice moved in it,
        which its mean has lost.

    Returns
    -------
    float32 array, shape (N, W) or (N, 2 W)

    Raises
    ------
    ConfigError
        If the sequence is empty, a rate is not positive, or the statistics are unknown.
    """
    _check(statistics)
    if features.ndim != 2 or len(features) == 0:
        raise ConfigError(f"tokens need features of shape (T, W) with T of 1 or more, not {features.shape}")
    if rate_hz <= 0 or token_rate_hz <= 0:
        raise ConfigError(f"rates must be positive, not {rate_hz} and {token_rate_hz} Hz")
    frames_per_token = rate_hz / token_rate_hz
    count = max(1, int(len(features) / frames_per_token + 0.5))
    # Half rounds down, so that a frame repeated for faster tokens comes equally often.
    edges = np.ceil(np.arange(count + 1) * frames_per_token - 0.5).astype(int)
    starts, stops = np.minimum(edges[:-1], len(features) - 1), np.minimum(edges[1:], len(features))
    windows = [features[start : max(stop, start + 1)] for start, stop in zip(starts, stops, strict=True)]
    means = [window.mean(axis=0) for window in windows]
    if statistics == "mean":
        return np.stack(means).astype(np.float32)
    tokens = [np.concatenate([mean, window.std(axis=0)]) for mean, window in zip(means, windows, strict=True)]
    return np.stack(tokens).astype(np.float32)


def _check(statistics: str) -> None:
    if statistics not in STATISTICS:
        raise ConfigError(f"unknown window statistics {statistics!r}; known: {', '.join(STATISTICS)}")
