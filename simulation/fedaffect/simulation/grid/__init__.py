"""Many simulated clients on a few resident Ray actors, behind Flower's ``Grid``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.edge.lazy_names import lazy_names

if TYPE_CHECKING:
    from fedaffect.simulation.grid.ray_grid import RayGrid

__all__ = ["RayGrid"]

# Loaded when asked for: workers of other apps use parts of this package, and need no torch for it.
__getattr__, __dir__ = lazy_names(__name__, {"fedaffect.simulation.grid.ray_grid": ("RayGrid",)})
