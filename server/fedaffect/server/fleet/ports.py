"""Where a fleet's servers listen unless told otherwise."""

from __future__ import annotations

from typing import Final

SUPERLINK_PORT: Final = 9440
SERVICE_PORT: Final = 9441
