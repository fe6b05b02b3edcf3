"""Paired tests over test samples: McNemar's exact test and the bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
_RESAMPLES_AT_ONCE = 250


@dataclass(frozen=True, slots=True)
class McNemar:
    """How often only one of two classifiers is right, and whether that is lopsided.

    Parameters
    ----------
    only_first, only_second : int
        Samples that only the first, or only the second, gets right.
    p : float
        Two-sided exact p-value: how likely so lopsided a split is if each were right as often as the other.
    """

    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference, second minus first, and where it plausibly lies.

    Parameters
    ----------
    difference : float
        As measured.
    low, high : float
        Ends of the interval.
    level : float
        Its coverage, such as 0.95.
    """

    difference: float
    low: float
    high: float
    level: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of no difference."""
        return self.low > 0 or self.high < 0


def mcnemar_exact(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """McNemar's test in its exact binomial form, which needs no large sample.

    Parameters
    ----------
    first_right, second_right : bool array, shape (N,)
        Whether each classifier is right about each sample.
    """
    from scipy.stats import binomtest

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    trials = only_first + only_second
    p = float(binomtest(only_first, trials).pvalue) if trials else 1.0
    return McNemar(only_first, only_second, p)


def bootstrap(
    labels: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    *,
    level: float = 0.95,
    owners: NDArray[np.str_] | None = None,
    seed: int = 0,
) -> tuple[Interval, Interval]:
    """Percentile intervals of the difference in UAR and in accuracy over resampled test sets.

    The same samples are drawn for both sides, so what makes a sample hard cancels. Several seeds of one setting are
    several predictions of the same samples; the difference is then the one between their averages.

    Parameters
    ----------
    labels : int array, shape (N,)
        True classes.
    first, second : int array, shape (R, N)
        Predictions of R paired runs of either side.
    level : float
        Coverage of the intervals.
    owners : str array, shape (N,), optional
        Draw whole owners (speakers, actors, videos) instead of samples, since samples of one person are alike.
    seed : int
        Of the resampling.

    Returns
    -------
    uar, accuracy : Interval
    """
    # Gains: by how much more often the second is right about each sample, in [-1, 1].
    gain = ((second == labels).astype(np.float64) - (first == labels)).mean(axis=0)  # (N,)
    classes = np.unique(labels, return_inverse=True)[1]
    of_class = np.eye(classes.max() + 1)[classes]  # (N, C)
    unit = np.arange(len(labels)) if owners is None else np.unique(owners, return_inverse=True)[1]
    gains, totals = _sum_by(unit, gain[:, None] * of_class), _sum_by(unit, of_class)  # (U, C) each
    generator = np.random.default_rng(seed)
    uar, accuracy = [], []
    for start in range(0, RESAMPLES, _RESAMPLES_AT_ONCE):
        draws = min(_RESAMPLES_AT_ONCE, RESAMPLES - start)
        times = generator.multinomial(len(gains), np.full(len(gains), 1 / len(gains)), size=draws).astype(np.float64)
        u, a = _figures(times @ gains, times @ totals)
        uar.append(u)
        accuracy.append(a)
    measured_uar, measured_accuracy = _figures(gains.sum(0, keepdims=True), totals.sum(0, keepdims=True))
    return (
        _interval(float(measured_uar[0]), np.concatenate(uar), level),
        _interval(float(measured_accuracy[0]), np.concatenate(accuracy), level),
    )


def _sum_by(unit: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    summed = np.zeros((int(unit.max()) + 1, values.shape[1]))
    np.add.at(summed, unit, values)
    return summed


def _figures(
    gains: NDArray[np.float64], totals: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Differences in UAR and accuracy, (B,) each, from sums by class, (B, C)."""
    there = totals > 0
    recall_gain = np.divide(gains, totals, out=np.zeros_like(gains), where=there)
    return recall_gain.sum(1) / there.sum(1), gains.sum(1) / totals.sum(1)


def _interval(measured: float, drawn: NDArray[np.float64], level: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(measured, float(low), float(high), level)
