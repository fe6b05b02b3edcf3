"""What a policy would have earned, from what another one did: off-policy evaluation with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Logged:
    """Decisions and what came of them.

    Parameters
    ----------
    taken : int64 array, shape (N,)
        Which of the K responses was taken.
    propensity : float64 array, shape (N,)
        With what probability; over 0.
    reward : float64 array, shape (N,)

    Raises
    ------
    DataError
        If lengths differ, nothing is logged, or a propensity is not in (0, 1].
    """

    taken: NDArray[np.int64]
    propensity: Values
    reward: Values

    def __post_init__(self) -> None:
        if not len(self.taken) == len(self.propensity) == len(self.reward):
            raise DataError("taken, propensity and reward are of different lengths; log each decision whole")
        if not len(self.taken):
            raise DataError("nothing is logged yet; decide first, and give rewards")
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise DataError("a logged propensity is not in (0, 1]; a policy can be judged only by what was possible")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A policy's mean reward.

    Parameters
    ----------
    value : float
    low, high : float
        Of the interval.
    effective : float
        How many decisions it rests on, ``(sum w)^2 / sum w^2`` of the importance weights (Kish).
    """

    value: float
    low: float
    high: float
    effective: float


def ips(logged: Logged, policy: Values, level: float = 0.95) -> Estimate:
    """Inverse propensity scoring, ``mean(w r)`` with ``w = pi(a|x) / mu(a|x)`` (Horvitz and Thompson, 1952).

    Parameters
    ----------
    logged : Logged
    policy : float64 array, shape (N, K)
        With what probability the policy that is judged takes each response; rows add up to 1.
    level : float
        Of the interval, which is normal: for some hundred decisions and more.

    Raises
    ------
    DataError
        If ``policy`` does not fit.
    """
    weights = _weights(logged, policy)
    return _mean(weights * logged.reward, weights, level)


def snips(logged: Logged, policy: Values, level: float = 0.95) -> Estimate:
    """Self-normalised inverse propensity scoring, ``sum(w r) / sum(w)`` (Swaminathan and Joachims, 2015).

    Parameters and errors as of :func:`ips`; the interval is by the delta method.

    Raises
    ------
    DataError
        If ``policy`` does not fit, or takes nothing that was taken.
    """
    weights = _weights(logged, policy)
    if not weights.sum():
        raise DataError("the policy takes nothing that was ever taken; explore first")
    value = float((weights * logged.reward).sum() / weights.sum())
    # An estimate's terms about their mean, as if it were one.
    terms = value + weights * (logged.reward - value) / weights.mean()
    return _mean(terms, weights, level)


def doubly_robust(logged: Logged, policy: Values, expected: Values, level: float = 0.95) -> Estimate:
    """Doubly robust, ``mean(sum_a pi(a|x) q(x, a) + w (r - q(x, taken)))`` (Dudik, Langford and Li, 2011).

    Parameters
    ----------
    logged : Logged
    policy : float64 array, shape (N, K)
    expected : float64 array, shape (N, K)
        What reward a model expects of each response, learned from other decisions than these.
    level : float

    Raises
    ------
    DataError
        If ``policy`` or ``expected`` does not fit.
    """
    weights = _weights(logged, policy)
    return _mean(_doubly_robust_terms(logged, policy, expected, weights), weights, level)


def advantage(logged: Logged, one: Values, other: Values, expected: Values, level: float = 0.95) -> Estimate:
    """How much more policy ``one`` earns than ``other`` on the same decisions, doubly robust and paired.

    Parameters and errors as of :func:`doubly_robust`.
    """
    weights = _weights(logged, one)
    first = _doubly_robust_terms(logged, one, expected, weights)
    second = _doubly_robust_terms(logged, other, expected, _weights(logged, other))
    return _mean(first - second, weights, level)


def _doubly_robust_terms(logged: Logged, policy: Values, expected: Values, weights: Values) -> Values:
    if expected.shape != policy.shape:
        raise DataError(f"expected rewards have the shape {expected.shape}, the policy {policy.shape}; give one each")
    model = (policy * expected).sum(axis=1)
    of_taken = expected[np.arange(len(logged.taken)), logged.taken]
    return np.asarray(model + weights * (logged.reward - of_taken))


def _weights(logged: Logged, policy: Values) -> Values:
    count = len(logged.taken)
    if policy.ndim != 2 or len(policy) != count or logged.taken.min() < 0 or logged.taken.max() >= policy.shape[1]:
        raise DataError(f"the policy has the shape {policy.shape} for {count} decisions; give (N, K)")
    if not (np.isfinite(policy).all() and (policy >= 0).all() and np.allclose(policy.sum(axis=1), 1.0)):
        raise DataError("the policy's rows are no probabilities that add up to 1")
    return np.asarray(policy[np.arange(count), logged.taken] / logged.propensity)


def _mean(terms: Values, weights: Values, level: float) -> Estimate:
    """The mean of terms with a normal interval; of one term it is not known how far it may be off."""
    value = float(terms.mean())
    spread = float(terms.std(ddof=1) / np.sqrt(len(terms))) if len(terms) > 1 else float("inf")
    reach = NormalDist().inv_cdf(0.5 + level / 2) * spread
    total = float(weights.sum())
    effective = total**2 / float((weights**2).sum()) if total else 0.0
    return Estimate(value, value - reach, value + reach, effective)
