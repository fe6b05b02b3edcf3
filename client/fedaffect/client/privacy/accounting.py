"""How much privacy a sequence of Gaussian mechanisms spends: by Renyi divergences, or by Opacus's PRV accountant."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.privacy.renyi import divergence
from fedaffect.edge.errors import ConfigError, unknown_name

RDP, PRV = "rdp", "prv"
ACCOUNTANTS = (RDP, PRV)

# Orders at which Renyi privacy is counted. Whole ones have a short closed form; a few between serve large epsilon.
ORDERS: tuple[float, ...] = (1.25, 1.5, 1.75, 2.5, 3.5, *range(2, 65), 72, 80, 96, 128, 192, 256)

# Solved noise multipliers may cost this share of epsilon more than needed, never less.
_TOLERANCE = 2e-3
_LEAST, _LARGEST = 2.0**-6, 2.0**14


@dataclass(frozen=True, slots=True)
class Spending:
    """Some steps of one Gaussian mechanism.

    Parameters
    ----------
    noise_multiplier : float
        Deviation of the noise for each unit of sensitivity; 0 spends everything.
    sample_rate : float
        Probability with which each example (or client) takes part in a step; 1 for no amplification.
    steps : int
    """

    noise_multiplier: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        if self.noise_multiplier < 0 or not 0 <= self.sample_rate <= 1 or self.steps < 0:
            raise ConfigError("a spending has a noise multiplier and steps of 0 or more and a sample rate in [0, 1]")


def rdp(spendings: Sequence[Spending]) -> NDArray[np.float64]:
    """Renyi divergence at each of :data:`ORDERS`; sums over steps and over spendings (Mironov 2017, proposition 1).

    Sampled Gaussian mechanism, add or remove one (Mironov, Talwar and Zhang 2019, section 3.3).
    """
    total = np.zeros(len(ORDERS))
    for spending in spendings:
        total += spending.steps * _rdp_of_step(spending.noise_multiplier, spending.sample_rate)
    return total


@functools.lru_cache(maxsize=4096)
def _rdp_of_step(noise_multiplier: float, sample_rate: float) -> NDArray[np.float64]:
    # A divergence is never negative; rounding may make it so.
    return np.array([max(0.0, divergence(sample_rate, noise_multiplier, order)) for order in ORDERS])


def epsilon_from_rdp(divergences: NDArray[np.float64], delta: float) -> float:
    """The least epsilon that these divergences prove at ``delta`` (Balle et al. 2020, theorem 21)."""
    if not divergences.any():
        return 0.0
    if not np.isfinite(divergences).any():
        return math.inf
    orders = np.array(ORDERS)
    at_each = divergences - (np.log(delta) + np.log(orders)) / (orders - 1) + np.log((orders - 1) / orders)
    return max(0.0, float(at_each.min()))


def epsilon(spendings: Sequence[Spending], delta: float, accountant: str = RDP) -> float:
    """Epsilon of everything spent, at ``delta``.

    Parameters
    ----------
    spendings : sequence of Spending
    delta : float
        In (0, 1).
    accountant : {"rdp", "prv"}
        Renyi divergences, or privacy loss random variables (Gopi, Lee and Wutschitz 2021), which are tighter and
        take half a second; their upper bound.
    """
    _check_delta(delta)
    real = [s for s in spendings if s.steps and s.sample_rate]
    if not real:
        return 0.0
    if any(s.noise_multiplier == 0 for s in real):
        return math.inf
    if accountant == RDP:
        return epsilon_from_rdp(rdp(real), delta)
    if accountant != PRV:
        raise unknown_name("accountant", accountant, ACCOUNTANTS)
    return _prv_epsilon(tuple(real), delta)


@functools.lru_cache(maxsize=1024)
def _prv_epsilon(spendings: tuple[Spending, ...], delta: float) -> float:
    try:
        from opacus.accountants import PRVAccountant
    except ImportError:
        raise ConfigError(
            "the prv accountant needs Opacus: pip install 'fedaffect[client]'; or run with --accountant rdp"
        ) from None

    made = PRVAccountant()
    made.history = [(s.noise_multiplier, s.sample_rate, s.steps) for s in spendings]
    with _quiet():
        return float(made.get_epsilon(delta=delta))


@functools.lru_cache(maxsize=4096)
def solve_noise_multiplier(
    target_epsilon: float, delta: float, sample_rate: float, steps: int, accountant: str = RDP
) -> float:
    """The least noise with which this many steps stay within (epsilon, delta).

    Parameters
    ----------
    target_epsilon, delta : float
        An infinite epsilon needs no noise.
    sample_rate : float
    steps : int
        Over all rounds together.
    accountant : {"rdp", "prv"}

    Returns
    -------
    float
        A multiplier whose epsilon is at most the target, and within 0.2 % of it.

    Raises
    ------
    ConfigError
        If no noise would do.
    """
    if not target_epsilon > 0:
        raise ConfigError(f"--epsilon must be above 0, not {target_epsilon}; 8 is usual, 1 is strict")
    _check_delta(delta)
    if math.isinf(target_epsilon) or steps == 0 or sample_rate == 0:
        return 0.0

    def spent(multiplier: float) -> float:
        return epsilon((Spending(multiplier, sample_rate, steps),), delta, accountant)

    high = 1.0
    if accountant == PRV:
        # A tighter accountant never needs more noise than a looser one.
        high = solve_noise_multiplier(target_epsilon, delta, sample_rate, steps, RDP)
    # Epsilon falls with noise, nearly along a line of their logarithms.
    low, above, below = high, math.inf, spent(high)
    while below > target_epsilon:
        low, above = high, below
        high, below = 2 * high, spent(2 * high)
        if high > _LARGEST:
            raise ConfigError(f"no noise keeps {steps} steps within epsilon {target_epsilon:g}; allow fewer rounds")
    while not math.isfinite(above) and low > _LEAST:
        low = high / 2
        if (there := spent(low)) <= target_epsilon:
            high, below = low, there
        else:
            above = there
    while target_epsilon - below > _TOLERANCE * target_epsilon and high - low > _TOLERANCE * high / 8:
        share = 0.5
        if math.isfinite(above) and 0 < below < above:
            share = math.log(above / (target_epsilon * (1 - _TOLERANCE / 2))) / math.log(above / below)
        middle = low * (high / low) ** min(0.95, max(0.05, share))
        there = spent(middle)
        low, above, high, below = (
            (low, above, middle, there) if there <= target_epsilon else (middle, there, high, below)
        )
    return high


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ConfigError(f"--delta is a probability above 0, not {delta}; take less than one over the examples: 1e-5")


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
