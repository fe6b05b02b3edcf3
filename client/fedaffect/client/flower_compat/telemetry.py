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
    """Without Flower's lines and without its telemetry, unless the environment asks for it."""
    logger = logging.getLogger("flwr")
    level, enabled = logger.level, telemetry.FLWR_TELEMETRY_ENABLED
    logger.setLevel(logging.CRITICAL)
    if _VARIABLE not in os.environ:
        telemetry.FLWR_TELEMETRY_ENABLED = "0"
    try:
        yield
    finally:
        logger.setLevel(level)
        telemetry.FLWR_TELEMETRY_ENABLED = enabled
