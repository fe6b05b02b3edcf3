"""Calibrated confidence, and the threshold below which the cloud is asked."""

from fedaffect.edge.calibration.curve import Curve, offload_curve
from fedaffect.edge.calibration.temperature import (
    expected_calibration_error,
    fit_temperature,
    fit_temperatures,
    negative_log_likelihood,
    softmax,
)
from fedaffect.edge.calibration.threshold import Choice, choose_threshold

__all__ = [
    "Choice",
    "Curve",
    "choose_threshold",
    "expected_calibration_error",
    "fit_temperature",
    "fit_temperatures",
    "negative_log_likelihood",
    "offload_curve",
    "softmax",
]
