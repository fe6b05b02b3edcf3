"""Calibrated confidence, and the threshold below which the cloud is asked."""

from edge_runtime.calibration.curve import Curve, offload_curve
from edge_runtime.calibration.pooling import CLOUD_SHARE, pool
from edge_runtime.calibration.subsets import DEFAULT, subset_key
from edge_runtime.calibration.temperature import (
    expected_calibration_error,
    fit_temperature,
    fit_temperatures,
    negative_log_likelihood,
    softmax,
)
from edge_runtime.calibration.threshold import Choice, choose_threshold

__all__ = [
    "CLOUD_SHARE",
    "DEFAULT",
    "Choice",
    "Curve",
    "choose_threshold",
    "expected_calibration_error",
    "fit_temperature",
    "fit_temperatures",
    "negative_log_likelihood",
    "offload_curve",
    "pool",
    "softmax",
    "subset_key",
]
