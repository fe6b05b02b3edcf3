"""Contextual bandits over responses: LinUCB and Thompson sampling, with a policy as what is believed at first."""

from __future__ import annotations

from collections.abc import Sequence
from math import erf
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError, DataError

Vector = NDArray[np.float64]
# Nodes of the quadrature by which Thompson sampling's propensities are computed.
_NODES: Final = 64


class Linear:
    """Bayesian linear regression of the reward on the context, one a response.

    A response's weights have the precision ``A = ridge I + sum x x'`` and the mean ``A^-1 b``, where b begins at
    ``ridge`` times the prior mean (Li et al., 2010, algorithm 1, with a prior).

    Parameters
    ----------
    prior : mapping of str to float64 array, shape (D,)
        Mean of each response's weights before anything was learned.
    ridge : float
        How many observations the prior is worth in each direction.
    """

    def __init__(self, prior: dict[str, Vector], ridge: float = 4.0) -> None:
        if not prior:
            raise ConfigError("a bandit chooses between responses; give at least one")
        if not ridge > 0:
            raise ConfigError(f"the prior is worth a positive number of observations, not {ridge:g}")
        self._width = len(next(iter(prior.values())))
        self._ridge = ridge
        self._precision = {name: ridge * np.eye(self._width) for name in prior}
        self._moment = {name: ridge * np.asarray(mean, np.float64) for name, mean in prior.items()}

    @property
    def responses(self) -> tuple[str, ...]:
        """What is chosen from."""
        return tuple(self._moment)

    def learn(self, context: Vector, response: str, reward: float) -> None:
        """Take in one reward.

        Raises
        ------
        DataError
            If context or reward are not finite numbers of the right shape.
        """
        context = np.asarray(context, np.float64)
        if context.shape != (self._width,) or not (np.isfinite(context).all() and np.isfinite(reward)):
            raise DataError(f"a context has {self._width} finite numbers and a reward is one; erase the log")
        self._precision[response] += np.outer(context, context)
        self._moment[response] += reward * context

    def expected(self, context: Vector, response: str) -> float:
        """Mean of the reward that is believed in."""
        return float(self._beliefs(context, (response,))[0][0])

    def greedy(self, context: Vector, allowed: Sequence[str]) -> str:
        """The response with the highest expected reward; the first of those that are equal."""
        return allowed[int(np.argmax(self._beliefs(context, allowed)[0]))]

    def _beliefs(self, context: Vector, allowed: Sequence[str]) -> tuple[Vector, Vector]:
        """Mean and standard deviation of each response's expected reward, each of shape (K,)."""
        means, deviations = [], []
        for name in allowed:
            solved = np.linalg.solve(self._precision[name], np.stack([self._moment[name], context], axis=1))
            means.append(context @ solved[:, 0])
            deviations.append(np.sqrt(max(float(context @ solved[:, 1]), 0.0)))
        return np.array(means), np.array(deviations)


class LinUCB(Linear):
    """The response with the highest upper confidence bound, ``m + alpha s`` (Li et al., 2010).

    Parameters
    ----------
    prior : mapping of str to float64 array, shape (D,)
    ridge : float
    alpha : float
        Deviations above the mean.
    """

    def __init__(self, prior: dict[str, Vector], ridge: float = 4.0, alpha: float = 1.0) -> None:
        super().__init__(prior, ridge)
        self._alpha = alpha

    def propensities(self, context: Vector, allowed: Sequence[str]) -> dict[str, float]:
        """1 for the response that is taken, shared where several have the same bound."""
        means, deviations = self._beliefs(context, allowed)
        bounds = means + self._alpha * deviations
        best = bounds >= bounds.max() - 1e-12
        return dict(zip(allowed, (best / best.sum()).tolist(), strict=True))


class ThompsonSampling(Linear):
    """Each response with the probability that it is the best, as far as is known (Agrawal and Goyal, 2013).

    Beliefs about responses are independent and normal, so the probability that one is the greatest is an integral of
    one variable, ``integral phi(z) prod_j Phi((m_i + s_i z - m_j) / s_j) dz``, computed by Gauss-Hermite quadrature
    instead of being drawn: the propensity that is logged is the one by which was drawn.

    Parameters
    ----------
    prior : mapping of str to float64 array, shape (D,)
    ridge : float
    noise : float
        Standard deviation of a reward about its mean.
    """

    def __init__(self, prior: dict[str, Vector], ridge: float = 4.0, noise: float = 0.5) -> None:
        super().__init__(prior, ridge)
        self._noise = noise
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        self._nodes, self._weights = nodes, weights / weights.sum()

    def propensities(self, context: Vector, allowed: Sequence[str]) -> dict[str, float]:
        """Of each response, that it is the best."""
        means, deviations = self._beliefs(context, allowed)
        deviations = np.maximum(self._noise * deviations, 1e-9)
        values = means[:, None] + deviations[:, None] * self._nodes  # (K, nodes)
        below = _normal_cdf((values[:, None, :] - means[None, :, None]) / deviations[None, :, None])  # (K, K, nodes)
        below[np.arange(len(allowed)), np.arange(len(allowed))] = 1.0
        shares = (below.prod(axis=1) * self._weights).sum(axis=1)
        return dict(zip(allowed, (shares / shares.sum()).tolist(), strict=True))


BANDITS: Final[dict[str, Any]] = {"linucb": LinUCB, "thompson": ThompsonSampling}


def _normal_cdf(x: Vector) -> Vector:
    """Of the standard normal distribution, to 1e-15; NumPy has none of its own."""
    return np.asarray(0.5 * (1.0 + np.vectorize(erf, otypes=[np.float64])(x / np.sqrt(2.0))))
