"""One answer of several: a device's and the cloud's, or those of a long sample's windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def weighed(shares: Sequence[NDArray[Any]], weights: Sequence[float]) -> NDArray[np.float64]:
    """Probabilities of a whole from those of its windows: ``p ~ exp(sum_i w_i log p_i / sum_i w_i)``.

    The same pool over any number, which is the weighted mean of calibrated logits. It is as sure as its windows are: a
    sum of logits would grow ever surer with length, and in a mean of probabilities windows that say little would
    flatten one that is sure.

    Parameters
    ----------
    shares : sequence of array, shape (C,)
        Of each window.
    weights : sequence of float
        Not negative; where all are 0, all windows count alike.
    """
    if len(shares) == 1:
        return np.asarray(shares[0])
    logs = _of_one(weights) @ np.log(np.maximum(np.stack(shares).astype(np.float64), _LEAST))  # (C,)
    powers = np.exp(logs - logs.max())
    return np.asarray(powers / powers.sum())


def averaged(ratings: Sequence[Mapping[str, float]], weights: Sequence[float]) -> dict[str, float]:
    """Ratings of a whole: the weighted mean of those of its windows, which rate the same.

    Parameters
    ----------
    ratings : sequence of mapping of str to float
        Of each window, by name.
    weights : sequence of float
        As for :func:`weighed`.
    """
    weight = _of_one(weights)
    return {name: float(weight @ [each[name] for each in ratings]) for name in ratings[0]}


def _of_one(weights: Sequence[float]) -> NDArray[np.float64]:
    """Weights that sum to 1."""
    weight = np.asarray(weights, np.float64)
    return weight / weight.sum() if weight.sum() > 0 else np.full(len(weight), 1 / len(weight))
