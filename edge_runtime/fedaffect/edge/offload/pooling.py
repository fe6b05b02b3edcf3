"""One answer of two: the device has its own when the cloud's comes, and may weigh it in."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError, DataError

# The cloud's weight: all. On development rows voices gain by sharing and words and faces do not (RESULTS.md).
CLOUD_SHARE: Final = 1.0
# What a probability of zero counts as: one model's certainty must not silence the other.
_LEAST: Final = 1e-4


def pool(edge: NDArray[Any], cloud: NDArray[Any], cloud_share: float = CLOUD_SHARE) -> NDArray[np.float64]:
    """Logarithmic opinion pool of two calibrated answers: p ∝ edge^(1 - w) cloud^w.

    The pool of Genest and Zidek, Combining Probability Distributions, Statistical Science 1986 (section 3): it asks of
    both that they agree, and is the weighted geometric mean.

    Parameters
    ----------
    edge, cloud : array, shape (..., C)
        Probabilities over the same classes.
    cloud_share : float
        w, in [0, 1]; 1 takes the cloud's answer as it is.

    Returns
    -------
    float64 array, shape (..., C)

    Raises
    ------
    ConfigError
        If the share lies outside.
    DataError
        If shapes differ.
    """
    if not 0 <= cloud_share <= 1:
        raise ConfigError(f"the cloud's share of an answer lies in [0, 1], not at {cloud_share}")
    mine, theirs = np.asarray(edge, np.float64), np.asarray(cloud, np.float64)
    if mine.shape != theirs.shape:
        raise DataError(
            f"probabilities of shape {mine.shape} and {theirs.shape} cannot be pooled; give the same classes"
        )
    if cloud_share == 1:
        return theirs
    logs = (1 - cloud_share) * np.log(np.maximum(mine, _LEAST)) + cloud_share * np.log(np.maximum(theirs, _LEAST))
    powers = np.exp(logs - logs.max(axis=-1, keepdims=True))
    pooled: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return pooled
