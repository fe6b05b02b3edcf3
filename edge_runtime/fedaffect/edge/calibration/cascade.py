"""What asking the cloud about the least sure requests gains: chosen on development rows, measured on test rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.calibration.curve import Curve, offload_curve
from fedaffect.edge.calibration.fitting import Target, calibrated_probabilities, fit_all
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.calibration.temperature import expected_calibration_error, softmax
from fedaffect.edge.calibration.threshold import Choice
from fedaffect.edge.errors import DataError


@dataclass(frozen=True, slots=True)
class CascadeRow:
    """One subset of the test rows, with thresholds from development rows.

    Parameters
    ----------
    name : str
        Of the subset, or ``all``.
    samples : int
        Test rows.
    curve : Curve
        On the test rows; for ``all``, confidence of different subsets compared as it is.
    chosen : Choice
        What the development rows' thresholds give on the test rows.
    within : Choice
        The last point of the test rows' own curve that offloads no more than asked for; chooses nothing.
    share_for_gap : float
        Share of the test rows that has to be offloaded for the wanted part of the gap; not-a-number without a gap.
    error_before, error_after : float
        Expected calibration error on the test rows, at T = 1 and at the temperatures from development rows.
    """

    name: str
    samples: int
    curve: Curve
    chosen: Choice
    within: Choice
    share_for_gap: float
    error_before: float
    error_after: float


def cascade(
    dev: Predictions, test: Predictions, max_offloaded: float, keep: float, spread: str = "each"
) -> list[CascadeRow]:
    """Fit and choose on development rows, measure on test rows.

    Parameters
    ----------
    dev, test : Predictions
        Both with the cloud's answers.
    max_offloaded : float
        Share of requests that may be offloaded; held on the development rows.
    keep : float
        Part of the gap whose price is told.
    spread : str
        Of thresholds over subsets, as of `fit_all`.

    Returns
    -------
    list of CascadeRow
        All rows together first, where there are several subsets.

    Raises
    ------
    DataError
        If the cloud's answers are missing, or a subset of the test rows has no development rows.
    """
    if dev.cloud_logits is None or test.cloud_right is None:
        raise DataError("the cascade needs the cloud's answers; give files with cloud_logits")
    if unknown := {*test.subsets} - {*dev.subsets}:
        raise DataError(f"no development rows for {', '.join(sorted(unknown))}; make both files with the same corpora")
    _, *reports = fit_all(dev, Target(max_offloaded), spread)
    temperatures = {r.name: r.temperature for r in reports}
    thresholds = {r.name: r.choice.threshold for r in reports}
    probabilities = calibrated_probabilities(test, temperatures)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == test.labels
    sent = confidence < np.array([thresholds[name] for name in test.subsets])
    names = np.asarray(test.subsets)
    groups = [(name, names == name) for name in sorted({*test.subsets})]
    if len(groups) > 1:
        groups.insert(0, ("all", np.ones(len(test), bool)))
    rows = []
    for name, where in groups:
        curve = offload_curve(confidence[where], right[where], test.cloud_right[where])
        chosen = _chosen(curve, sent[where], right[where], test.cloud_right[where], thresholds.get(name, math.nan))
        place, enough = curve.within(max_offloaded), curve.first_to_recover(keep)
        share, accuracy = float(curve.shares[place]), float(curve.accuracies[place])
        here = Choice(
            float(curve.thresholds[place]), share, accuracy, curve.random(share), curve.recovered(accuracy), True
        )
        rows.append(
            CascadeRow(
                name=name,
                samples=int(where.sum()),
                curve=curve,
                chosen=chosen,
                within=here,
                share_for_gap=math.nan if enough is None else float(curve.shares[enough]),
                error_before=expected_calibration_error(softmax(test.logits[where]), test.labels[where]),
                error_after=expected_calibration_error(probabilities[where], test.labels[where]),
            )
        )
    return rows


def _chosen(
    curve: Curve, sent: NDArray[np.bool_], edge: NDArray[np.bool_], cloud: NDArray[np.bool_], threshold: float
) -> Choice:
    share, accuracy = float(sent.mean()), float(np.where(sent, cloud, edge).mean())
    return Choice(threshold, share, accuracy, curve.random(share), curve.recovered(accuracy), True)
