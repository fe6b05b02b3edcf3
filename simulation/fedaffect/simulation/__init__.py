"""What a researcher studies: many clients on one machine or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.edge.lazy_names import lazy_names

if TYPE_CHECKING:
    from fedaffect.simulation.api import SweptRuns, open_run, simulate
    from fedaffect.simulation.apps.running import run_simulation
    from fedaffect.simulation.partition.registry import Partitioner
    from fedaffect.simulation.partition.rows import Partition, Rows
    from fedaffect.simulation.recorded_run import Predictions, RecordedRun

__all__ = [
    "Partition",
    "Partitioner",
    "Predictions",
    "RecordedRun",
    "Rows",
    "SweptRuns",
    "open_run",
    "run_simulation",
    "simulate",
]

# Loaded when asked for: most who import a part of this room need no Ray for it.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fedaffect.simulation.api": ("SweptRuns", "open_run", "simulate"),
        "fedaffect.simulation.apps.running": ("run_simulation",),
        "fedaffect.simulation.partition.registry": ("Partitioner",),
        "fedaffect.simulation.partition.rows": ("Partition", "Rows"),
        "fedaffect.simulation.recorded_run": ("Predictions", "RecordedRun"),
    },
)
