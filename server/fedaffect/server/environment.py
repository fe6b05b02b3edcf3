"""Environment variables that several of the server's programs read."""

from __future__ import annotations

from typing import Final

# Database URL of the registry.
REGISTRY_VARIABLE: Final = "FEDAFFECT_REGISTRY"
# Folder of the fleet that a process belongs to.
FLEET_VARIABLE: Final = "FEDAFFECT_FLEET"
