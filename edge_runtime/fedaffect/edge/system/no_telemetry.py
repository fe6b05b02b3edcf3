"""No library that fedaffect brings along tells its maker anything, unless the environment asks for it.

The package `fedaffect` itself calls :func:`silence`, so before whatever a part of it imports; child processes inherit
it. Libraries read their variables when they are imported: ONNX Runtime's own switch in Python is too late.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SILENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ORT_DISABLE_TELEMETRY": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        # What others have agreed on.
        "DO_NOT_TRACK": "1",
    }
)


def silence() -> None:
    """Set those variables that the environment leaves open."""
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
