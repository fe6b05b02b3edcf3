"""Paired tests over seeds: the t-test and Wilcoxon's signed-rank test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class PairedSeeds:
    """Differences of one figure, second minus first, over seeds that both sides ran.

    Parameters
    ----------
    seeds : tuple of int
        Which.
    differences : tuple of float
        One a seed.
    mean, std : float
        Of the differences; the sample standard deviation, 0 for a single seed.
    t_p, wilcoxon_p : float or None
        Two-sided p-values; None for fewer than two seeds.
    """

    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    std: float
    t_p: float | None
    wilcoxon_p: float | None


def paired_seeds(seeds: Sequence[int], first: Sequence[float], second: Sequence[float]) -> PairedSeeds:
    """Test whether one figure differs between two settings run with the same seeds.

    Parameters
    ----------
    seeds : sequence of int
        S seeds, at least one.
    first, second : sequence of float
        The figure of either side, S each.
    """
    from scipy.stats import ttest_1samp, wilcoxon

    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    mean = float(differences.mean())
    if len(differences) < 2:
        return PairedSeeds(tuple(seeds), tuple(differences.tolist()), mean, 0.0, None, None)
    std = float(differences.std(ddof=1))
    if np.ptp(differences) == 0:
        # The t statistic has nothing to divide by: no difference at all, or the very same one each time.
        t_p = 1.0 if mean == 0 else 0.0
    else:
        t_p = float(ttest_1samp(differences, 0.0).pvalue)
    signed_rank = 1.0 if not differences.any() else float(wilcoxon(differences, method="auto").pvalue)
    return PairedSeeds(tuple(seeds), tuple(differences.tolist()), mean, std, t_p, signed_rank)


def smallest_wilcoxon_p(seeds: int) -> float:
    """What the signed-rank test gives at best: with 5 seeds it can never go below 0.0625."""
    return math.ldexp(1.0, 1 - seeds)
