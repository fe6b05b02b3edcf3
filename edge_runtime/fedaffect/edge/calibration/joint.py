"""Thresholds of several subsets chosen together: the cloud is asked where one more question gains most."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.calibration.curve import Curve


def joint_places(curves: Mapping[str, Curve], max_offloaded: float) -> dict[str, int]:
    """A point on each curve, so that all together gain most within a share of all requests.

    What a further request gains is taken to fall with confidence, so each curve is replaced by its least concave
    majorant (isotonic regression of the gains). The best points under one bound are then those at which all curves have
    the same slope: the Lagrange multiplier of the bound. Nothing is offloaded where the slope is not positive.

    Parameters
    ----------
    curves : mapping of str to Curve
        By subset, drawn on the development split.
    max_offloaded : float
        Share of the requests of all curves together, in [0, 1].

    Returns
    -------
    dict of str to int
        Place of the point on each curve.
    """
    left = max_offloaded * sum(curve.samples for curve in curves.values()) + 1e-9
    steps = sorted(
        ((slope, name, start, stop) for name, curve in curves.items() for slope, start, stop in _blocks(curve)),
        key=lambda step: (-step[0], step[1]),
    )
    places = dict.fromkeys(curves, 0)
    for slope, name, start, stop in steps:
        if slope <= 0 or left <= 0:
            break
        counts = _counts(curves[name])
        # Of the last block only a part may fit.
        place = int(np.searchsorted(counts[: stop + 1], counts[start] + left, side="right")) - 1
        left = left - (counts[place] - counts[start]) if place == stop else 0.0
        places[name] = place
    return places


def _counts(curve: Curve) -> NDArray[np.float64]:
    return np.round(curve.shares * curve.samples)


def _blocks(curve: Curve) -> list[tuple[float, int, int]]:
    """Segments of the least concave majorant: gain a request, first and last place. Pool adjacent violators."""
    counts, right = _counts(curve), curve.accuracies * curve.samples
    blocks: list[tuple[float, int, int]] = []
    for stop in range(1, len(counts)):
        start = stop - 1
        slope = (right[stop] - right[start]) / (counts[stop] - counts[start])
        while blocks and blocks[-1][0] <= slope:
            start = blocks.pop()[1]
            slope = (right[stop] - right[start]) / (counts[stop] - counts[start])
        blocks.append((float(slope), start, stop))
    return blocks
