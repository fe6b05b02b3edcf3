"""Accuracy against the share of requests that are offloaded, least confident first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError


@dataclass(frozen=True, slots=True)
class Curve:
    """What each threshold would have given, from nothing offloaded to everything.

    Requests of equal confidence go together, since no threshold can part them.

    Parameters
    ----------
    thresholds : float64 array, shape (K,)
        Requests of a confidence below it are offloaded; ascending.
    shares : float64 array, shape (K,)
        Share of requests offloaded; from 0 to 1, ascending.
    accuracies : float64 array, shape (K,)
        Share of requests answered rightly; the ends are the edge's accuracy and the cloud's.
    samples : int
        Requests that it rests on.
    """

    thresholds: NDArray[np.float64]
    shares: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    samples: int

    def __post_init__(self) -> None:
        if not self.thresholds.shape == self.shares.shape == self.accuracies.shape or len(self.shares) < 2:
            raise DataError("a curve has thresholds, shares and accuracies of one length, 2 or more; draw it again")

    @property
    def edge_accuracy(self) -> float:
        """Where nothing is offloaded."""
        return float(self.accuracies[0])

    @property
    def cloud_accuracy(self) -> float:
        """Where everything is."""
        return float(self.accuracies[-1])

    @property
    def gap(self) -> float:
        """What the cloud's accuracy is above the edge's; below 0 where the edge is better."""
        return self.cloud_accuracy - self.edge_accuracy

    @property
    def area(self) -> float:
        """Area under the curve: accuracy, were all shares equally likely."""
        return float(np.trapezoid(self.accuracies, self.shares))

    @property
    def random_area(self) -> float:
        """The same for offloading at random."""
        return (self.edge_accuracy + self.cloud_accuracy) / 2

    def random(self, share: float) -> float:
        """Expected accuracy where that share is offloaded, chosen by chance: a straight line."""
        return self.edge_accuracy + share * self.gap

    def recovered(self, accuracy: float) -> float:
        """Share of the gap that an accuracy has made up; not-a-number where there is no gap."""
        return (accuracy - self.edge_accuracy) / self.gap if self.gap > 0 else math.nan

    def within(self, share: float) -> int:
        """Place of the last point that offloads no more than a share."""
        return int(np.searchsorted(self.shares, share + 1e-12, side="right")) - 1

    def first_to_recover(self, share_of_gap: float) -> int | None:
        """Place of the first point that makes up that share of the gap; None where the cloud is not better."""
        if self.gap <= 0:
            return None
        # One part in 10⁹ for rounding: the last point recovers all of it.
        wanted = self.edge_accuracy + share_of_gap * self.gap - 1e-9
        return int(np.argmax(self.accuracies >= wanted))


def offload_curve(confidence: NDArray[Any], edge_right: NDArray[Any], cloud_right: NDArray[Any]) -> Curve:
    """Draw the curve over answered requests.

    Parameters
    ----------
    confidence : float array, shape (N,)
        Calibrated, of the edge's answers.
    edge_right, cloud_right : bool array, shape (N,)
        Whether each answer was right.

    Raises
    ------
    DataError
        If there are no requests, shapes differ, or a confidence is not a number.
    """
    c = np.asarray(confidence, np.float64)
    edge, cloud = np.asarray(edge_right, bool), np.asarray(cloud_right, bool)
    if c.ndim != 1 or not c.shape == edge.shape == cloud.shape:
        raise DataError(f"confidence {c.shape}, edge {edge.shape} and cloud {cloud.shape} differ in shape; give (N,)")
    if len(c) == 0:
        raise DataError("no requests, so no curve; give predictions of the development split")
    if not np.isfinite(c).all():
        raise DataError("a confidence is not a number; leave those requests out")
    order = np.argsort(c, kind="stable")
    c, gain = c[order], cloud[order].astype(np.int64) - edge[order]
    # Numbers of requests that some threshold sends: 0, and each place where confidence steps up.
    counts = np.concatenate([[0], np.flatnonzero(np.diff(c)) + 1, [len(c)]])
    gains = np.concatenate([[0], np.cumsum(gain)])[counts]
    accuracies = (edge.sum() + gains) / len(c)
    return Curve(_between(c, counts), counts / len(c), accuracies, len(c))


def _between(c: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Thresholds that send the first ``counts`` of ascending confidences: halfway to the next one."""
    inner = counts[1:-1]
    middle = c[inner - 1] + (c[inner] - c[inner - 1]) / 2
    # Neighbouring floats have nothing between them.
    middle = np.where(middle > c[inner - 1], middle, c[inner])
    last = 1.0 if c[-1] < 1 else np.nextafter(c[-1], math.inf)
    return np.concatenate([[min(0.0, c[0])], middle, [last]])
