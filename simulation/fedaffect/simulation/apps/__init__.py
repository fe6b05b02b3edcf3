"""Any Flower app on a grid's resident actors: ``run_simulation`` in place of Flower's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.edge.lazy_names import lazy_names

if TYPE_CHECKING:
    from fedaffect.simulation.apps.app_grid import AppGrid
    from fedaffect.simulation.apps.running import run_simulation

__all__ = ["AppGrid", "run_simulation"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fedaffect.simulation.apps.app_grid": ("AppGrid",),
        "fedaffect.simulation.apps.running": ("run_simulation",),
    },
)
