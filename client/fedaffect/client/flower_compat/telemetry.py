"""Flower's telemetry and log lines, switched off for a while."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from flwr.supercore import telemetry

_VARIABLE = "FLWR_TELEMETRY_ENABLED"


@contextmanager
def quiet_flower_engine() -> Iterator[None]:
    """Without Flower's lines, and with telemetry as the environment says also where Flower was imported first."""
    logger = logging.getLogger("flwr")
    level, enabled = logger.level, telemetry.FLWR_TELEMETRY_ENABLED
    logger.setLevel(logging.CRITICAL)
    telemetry.FLWR_TELEMETRY_ENABLED = os.environ[_VARIABLE]
    try:
        yield
    finally:
        logger.setLevel(level)
        telemetry.FLWR_TELEMETRY_ENABLED = enabled
