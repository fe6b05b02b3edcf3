"""What is always so of a client taken off its features, at a price: a noisy mean of them, within the same budget.

Taking an owner's mean off is the strongest cheap normalisation of voices there is, but with one example as the unit
it cannot be had for nothing: a gradient would then depend on all examples through the mean. Here the mean is a Gaussian
mechanism of its own, and the training that follows is post-processing of it as far as the mean goes. Both compose: of
mechanisms with multipliers z_1, z_2, ... that see an example once each, the whole is one Gaussian mechanism with
z^-2 = z_1^-2 + z_2^-2 + ... (Dong, Roth and Su 2022, corollary 3.3), so that a share of z^-2 is a share of the budget.

An owner whose features are only used where they are, as to answer on a device, takes its exact mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedaffect.client.privacy.accounting import Spending, epsilon, solve_noise_multiplier
from fedaffect.client.privacy.noise import NoiseSource, add_noise
from fedaffect.edge.errors import ConfigError

# Rows of norm 1, with room for rounding to float32.
_SENSITIVITY = 1.0 + 1e-5
# Where the sum of both is found to cost more than planned, noise grows by this.
_MORE = 1.001


@dataclass(frozen=True, slots=True)
class CentredBudget:
    """Noise of a mean and of the steps that follow it.

    Parameters
    ----------
    of_mean, of_step : float
        Noise multipliers; 0 where nothing is private.
    steps : int
        Full-batch steps over all rounds.
    """

    of_mean: float
    of_step: float
    steps: int

    @property
    def spendings(self) -> tuple[Spending, ...]:
        """What both cost together."""
        return Spending(self.of_mean, 1.0, 1), Spending(self.of_step, 1.0, self.steps)

    @classmethod
    def within(cls, target: float, delta: float, steps: int, share: float, accountant: str) -> CentredBudget:
        """Split a budget.

        Parameters
        ----------
        target, delta : float
            Epsilon, delta; an infinite epsilon needs no noise.
        steps : int
        share : float
            Of z^-2 for the mean, in (0, 1).
        accountant : {"rdp", "prv"}

        Returns
        -------
        CentredBudget
            Whose epsilon is at most the target.
        """
        if not 0 < share < 1 or steps < 1:
            raise ConfigError(f"the mean takes a share between 0 and 1 and leaves 1 step or more, not {share}, {steps}")
        if math.isinf(target):
            return cls(0.0, 0.0, steps)
        whole = solve_noise_multiplier(target, delta, 1.0, 1, accountant)
        while True:
            made = cls(whole / math.sqrt(share), whole * math.sqrt(steps / (1 - share)), steps)
            if epsilon(made.spendings, delta, accountant) <= target:
                return made
            whole *= _MORE


def unit_rows(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to norm 1, shape (N, W); zeros stay."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = features / np.maximum(norms, np.finfo(np.float32).tiny)
    return scaled


def private_mean(
    rows: NDArray[np.float32], noise_multiplier: float, between: NDArray[np.float32], source: NoiseSource
) -> NDArray[np.float32]:
    """Noisy mean of a client's rows, as far as it is to be believed.

    m = b / (b + (z / n)^2) (sum x_i / n + z / n N(0, 1)), feature by feature: the best linear guess at an owner's mean
    where owners' means have variance b. Shrinking looks at nothing private and costs nothing.

    Parameters
    ----------
    rows : float32 array, shape (n, W)
        Of norm 1 at most; n counts as public.
    noise_multiplier : float
        z; 0 gives the mean itself.
    between : float32 array, shape (W,)
        b, from other people's data that is public.
    source : NoiseSource

    Raises
    ------
    ConfigError
        If a row is longer than 1: noise would be made for less than it can change.
    """
    # So that a norm that is no number is refused too.
    if len(rows) == 0 or not float(np.linalg.norm(rows, axis=1).max()) <= _SENSITIVITY:
        raise ConfigError("a private mean is of rows whose norm is 1 at most, and of one at least; scale them first")
    total = torch.from_numpy(rows.sum(axis=0, dtype=np.float64).astype(np.float32))
    add_noise(total, noise_multiplier, _SENSITIVITY, source, float(len(rows)))
    if noise_multiplier == 0:
        return total.numpy()
    believed = between / (between + (noise_multiplier / len(rows)) ** 2)
    mean: NDArray[np.float32] = (total.numpy() * believed).astype(np.float32)
    return mean
