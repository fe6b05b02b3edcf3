"""Temperature scaling: one number that makes confidence mean what it says.

Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017 (section 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError

LOWEST: Final = 0.05
HIGHEST: Final = 20.0
# As many samples as the network's own word counts for: with a handful of samples that all happen to be right, the
# likelihood alone would ask for boundless confidence. Among a thousand samples they do not matter.
_PRIOR_SAMPLES = 8.0
_STEPS = 60


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of each class.

    Parameters
    ----------
    logits : array, shape (..., C)
        Scores.
    temperature : float
        They are divided by it; above 0. The order of the classes stays as it is.

    Returns
    -------
    float64 array, shape (..., C)
    """
    z = np.asarray(logits, np.float64)
    powers = np.exp((z - z.max(axis=-1, keepdims=True)) / temperature)
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def negative_log_likelihood(logits: NDArray[Any], labels: NDArray[Any], temperature: float = 1.0) -> float:
    """Mean over samples of minus the logarithm of the true class's probability, in nats; 0 of no samples.

    Parameters
    ----------
    logits : array, shape (N, C)
        Scores.
    labels : integer array, shape (N,)
        True classes.
    temperature : float
        By which scores are divided.

    Raises
    ------
    DataError
        If shapes do not fit, a score is not a number, or a label is no class.
    """
    z, y = _checked(logits, labels)
    return _nll(z - z.max(axis=1, keepdims=True, initial=-math.inf), y, 1 / temperature) if len(y) else 0.0


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """The temperature under which the labels are likeliest.

    In β = 1 / T the negative log-likelihood is convex; its derivative is the mean of E_p(β)[z] - z_y, so bisection
    finds where it vanishes. Eight further samples, labelled by the network's own probabilities at T = 1, hold the
    result near 1 where there are few others; their likelihood is best at T = 1, so the likelihood of the real ones
    never falls by fitting.

    Parameters
    ----------
    logits : array, shape (N, C)
        Scores that no temperature was applied to.
    labels : integer array, shape (N,)
        True classes.

    Returns
    -------
    float
        In [0.05, 20]; 1 where there is nothing to learn from: no samples, one class, scores that are all equal.

    Raises
    ------
    DataError
        If shapes do not fit, a score is not a number, or a label is no class.
    """
    z, y = _checked(logits, labels)
    if len(y) == 0 or z.shape[1] < 2:
        return 1.0
    z = z - z.max(axis=1, keepdims=True)
    if not z.any():
        return 1.0
    share = len(y) / (len(y) + _PRIOR_SAMPLES)
    target = share * z[np.arange(len(y)), y].mean() + (1 - share) * _expected(z, 1.0)
    low, high = math.log(1 / HIGHEST), math.log(1 / LOWEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # E_p(β)[z] grows with β.
        if _expected(z, math.exp(middle)) < target:
            low = middle
        else:
            high = middle
    temperature = math.exp(-(low + high) / 2)
    # Where the optimum is flat, rounding may end a hair on the wrong side of 1.
    return temperature if _nll(z, y, 1 / temperature) < _nll(z, y, 1.0) else 1.0


def fit_temperatures(logits: NDArray[Any], labels: NDArray[Any], subsets: Sequence[str]) -> dict[str, float]:
    """A temperature for each subset of modalities that occurs.

    Parameters
    ----------
    logits : array, shape (N, C)
        Scores that no temperature was applied to.
    labels : integer array, shape (N,)
        True classes.
    subsets : sequence of str, length N
        Key of each sample's subset, as `subset_key` writes it.

    Raises
    ------
    DataError
        If shapes do not fit, a score is not a number, or a label is no class.
    """
    names = np.asarray(subsets, str)
    z, y = _checked(logits, labels)
    if names.shape != y.shape:
        raise DataError(f"{len(y)} samples have {names.size} subsets of modalities; give one a sample")
    return {name: fit_temperature(z[names == name], y[names == name]) for name in np.unique(names).tolist()}


def expected_calibration_error(probabilities: NDArray[Any], labels: NDArray[Any], bins: int = 15) -> float:
    """How far confidence is from accuracy: equation 3 of Guo et al., with bins of equal width.

    Parameters
    ----------
    probabilities : array, shape (N, C)
        Of each class.
    labels : integer array, shape (N,)
        True classes.
    bins : int
        Over (0, 1].

    Returns
    -------
    float
        In [0, 1]; 0 of no samples.

    Raises
    ------
    DataError
        If shapes do not fit, a probability is not a number, or a label is no class.
    """
    p, y = _checked(probabilities, labels)
    if bins < 1:
        raise DataError(f"calibration is measured over 1 bin or more, not {bins}; 15 is usual")
    if len(y) == 0:
        return 0.0
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    # Sum over bins of |bin| / N |accuracy - confidence|; the bin's size cancels.
    gaps = np.bincount(place, right, bins) - np.bincount(place, confidence, bins)
    return float(np.abs(gaps).sum() / len(y))


def _checked(scores: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    z, y = np.asarray(scores, np.float64), np.asarray(labels)
    if z.ndim != 2 or y.shape != z.shape[:1] or z.shape[1] < 1:
        raise DataError(f"scores of shape {z.shape} and labels of shape {y.shape} do not fit; give (N, C) and (N,)")
    if y.dtype.kind not in "iu" and len(y):
        raise DataError(f"labels are class numbers, not {y.dtype}; give integers")
    if not np.isfinite(z).all():
        raise DataError("scores hold NaN or infinite values; leave those samples out")
    y = y.astype(np.int64)
    if len(y) and not (y.min() >= 0 and y.max() < z.shape[1]):
        raise DataError(f"labels from {y.min()} to {y.max()} do not name {z.shape[1]} classes; count from 0")
    return z, y


def _expected(z: NDArray[np.float64], beta: float) -> float:
    """Mean over samples of the expected score under softmax(β z); z has row maxima of 0."""
    p = np.exp(beta * z)
    return float(((p * z).sum(axis=1) / p.sum(axis=1)).mean())


def _nll(z: NDArray[np.float64], y: NDArray[np.int64], beta: float) -> float:
    normalisers = np.log(np.exp(beta * z).sum(axis=1))
    return float((normalisers - beta * z[np.arange(len(y)), y]).mean())
