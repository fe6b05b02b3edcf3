"""Averaging weights as a reply says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedaffect.client.layout import TRUNK
from fedaffect.client.wire import NUM_EXAMPLES


def weights_of(metrics: Mapping[str, Any]) -> dict[str, int]:
    """By parameter group, from a reply's metrics."""
    prefix = f"{NUM_EXAMPLES}."
    groups = {key.removeprefix(prefix): int(n) for key, n in metrics.items() if key.startswith(prefix)}
    return {TRUNK: int(metrics[NUM_EXAMPLES]), **groups}
