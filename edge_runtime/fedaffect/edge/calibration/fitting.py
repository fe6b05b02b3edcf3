"""From predictions to what a bundle keeps: a temperature and a threshold for each subset of modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.calibration.curve import Curve, offload_curve
from fedaffect.edge.calibration.joint import joint_places
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.calibration.temperature import expected_calibration_error, fit_temperature, softmax
from fedaffect.edge.calibration.threshold import Choice, choice_at, choose_threshold
from fedaffect.edge.errors import ConfigError, unknown_name

# With fewer samples a subset's own threshold would be chance; it takes the one chosen over all.
LEAST_FOR_OWN = 50
SPREADS: Final = ("each", "joint", "one")


@dataclass(frozen=True, slots=True)
class Target:
    """What the threshold is chosen for; see `choose_threshold`.

    Parameters
    ----------
    max_offloaded, keep : float, optional
        Shares in [0, 1].
    """

    max_offloaded: float | None = 0.35
    keep: float | None = None


@dataclass(frozen=True, slots=True)
class SubsetReport:
    """What calibration found for one subset, or for all together.

    Parameters
    ----------
    name : str
        Key of the subset, or ``all``.
    samples : int
        Samples it rests on.
    temperature : float
        The fitted one; not-a-number for ``all``.
    error_before, error_after : float
        Expected calibration error at T = 1 and at the fitted temperatures.
    curve : Curve
        Accuracy against share offloaded. Without answers of the cloud it is flat and tells shares only.
    choice : Choice
        The threshold and what it gives here.
    staying_accuracy : float
        Of the answers that are not offloaded; not-a-number where all are.
    own : bool
        Whether the threshold was chosen on this subset's own samples.
    """

    name: str
    samples: int
    temperature: float
    error_before: float
    error_after: float
    curve: Curve
    choice: Choice
    staying_accuracy: float
    own: bool


def calibrated_probabilities(found: Predictions, temperatures: Mapping[str, float]) -> NDArray[np.float64]:
    """Probabilities of each class, each sample at its subset's temperature.

    Parameters
    ----------
    found : Predictions
        N of them, over C classes.
    temperatures : mapping of str to float
        By subset; 1 for one that is missing.

    Returns
    -------
    float64 array, shape (N, C)
    """
    divisors = np.array([temperatures.get(name, 1.0) for name in found.subsets])
    return softmax(found.logits / divisors[:, None])


def fit_all(
    found: Predictions, target: Target, spread: str = "each", kept: Mapping[str, float] | None = None
) -> tuple[SubsetReport, ...]:
    """Fit temperatures, draw curves and choose thresholds: over all first, then for each subset.

    Parameters
    ----------
    found : Predictions
        Of a development split.
    target : Target
        What thresholds are chosen for. Without the cloud's answers only ``max_offloaded`` can be had.
    spread : {"each", "joint", "one"}
        ``each``: every subset keeps the target by itself, for apps that mostly send the same modalities. ``joint``: all
        subsets together keep ``max_offloaded``, and the cloud is asked where that gains most; for traffic that is
        mixed as these predictions are. ``one``: a single threshold, the same for all.
    kept : mapping of str to float, optional
        Temperatures by subset, where they were fitted on more than these predictions and stay.

    Raises
    ------
    ConfigError
        If the target is out of range, or needs answers of the cloud that are not there.
    """
    if spread not in SPREADS:
        raise unknown_name("spread of thresholds", spread, SPREADS)
    if found.cloud_logits is None and (target.keep is not None or target.max_offloaded is None or spread == "joint"):
        raise ConfigError(
            "what the cloud would gain is known only with its answers; add cloud_logits to the predictions, "
            "or choose by --max-offloaded alone"
        )
    if spread == "joint" and target.max_offloaded is None:
        raise ConfigError("thresholds are chosen jointly for a share offloaded at most; give --max-offloaded")
    rows_of = _rows_by_subset(found)
    temperatures = {
        name: fit_temperature(found.logits[rows], found.labels[rows]) if kept is None else kept.get(name, 1.0)
        for name, rows in rows_of.items()
    }
    overall = _report("all", found, temperatures, target, None)
    reports = []
    for name, rows in rows_of.items():
        own = spread != "one" and int(rows.sum()) >= LEAST_FOR_OWN
        given = None if own else overall.choice.threshold
        reports.append(_report(name, found.where(rows), temperatures, target, given))
    if spread != "joint" or target.max_offloaded is None:
        return overall, *reports
    places = joint_places({report.name: report.curve for report in reports if report.own}, target.max_offloaded)
    for number, report in enumerate(reports):
        if report.own:
            threshold = float(report.curve.thresholds[places[report.name]])
            chosen = _report(report.name, found.where(rows_of[report.name]), temperatures, target, threshold)
            reports[number] = replace(chosen, own=True)
    return _summed(overall, reports), *reports


def _summed(overall: SubsetReport, reports: Sequence[SubsetReport]) -> SubsetReport:
    """All subsets together, each at its own threshold; there is no threshold of all."""
    samples = np.array([report.samples for report in reports], np.float64)
    share = float(np.dot(samples, [r.choice.share for r in reports]) / samples.sum())
    accuracy = float(np.dot(samples, [r.choice.accuracy for r in reports]) / samples.sum())
    stay = samples * [1 - r.choice.share for r in reports]
    staying = float(np.dot(stay, np.nan_to_num([r.staying_accuracy for r in reports])) / max(stay.sum(), 1e-9))
    curve = overall.curve
    random, recovered = curve.random(share), curve.recovered(accuracy)
    choice = Choice(overall.choice.threshold, share, accuracy, random, recovered, True)
    return replace(overall, choice=choice, staying_accuracy=staying)


def _rows_by_subset(found: Predictions) -> dict[str, NDArray[np.bool_]]:
    names = np.asarray(found.subsets)
    return {name: names == name for name in sorted({*found.subsets})}


def _report(
    name: str, found: Predictions, temperatures: Mapping[str, float], target: Target, threshold: float | None
) -> SubsetReport:
    after = calibrated_probabilities(found, temperatures)
    right = after.argmax(axis=1) == found.labels
    confidence = after.max(axis=1)
    cloud = found.cloud_right
    curve = offload_curve(confidence, right, right if cloud is None else cloud)
    if threshold is not None:
        # Thresholds ascend, so the last one that sends no more than this one sends is its place on this curve.
        choice = choice_at(curve, curve.within(float((confidence < threshold).mean())), threshold=threshold)
    elif cloud is None:
        choice = choice_at(curve, curve.within(target.max_offloaded or 0.0))
    else:
        choice = choose_threshold(curve, max_offloaded=target.max_offloaded, keep=target.keep)
    staying = right[confidence >= choice.threshold]
    return SubsetReport(
        name=name,
        samples=len(found),
        temperature=temperatures.get(name, float("nan")),
        error_before=expected_calibration_error(softmax(found.logits), found.labels),
        error_after=expected_calibration_error(after, found.labels),
        curve=curve,
        choice=choice,
        staying_accuracy=float(staying.mean()) if len(staying) else float("nan"),
        own=threshold is None,
    )
