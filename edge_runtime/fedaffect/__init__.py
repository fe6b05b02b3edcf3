"""Emotion from face, voice and words: on the device, in the cloud, and learned together without sharing data.

`EdgeRuntime` answers on a device, `Sample` is what it is asked about and `Prediction` what it answers;
`simulate` lets many clients learn together on one machine, and `open_run` reads a run back.
"""

from __future__ import annotations

from pkgutil import extend_path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedaffect.edge import EdgeRuntime, FedAffectError, Prediction, Sample
    from fedaffect.simulation import open_run, simulate

__all__ = ["EdgeRuntime", "FedAffectError", "Prediction", "Sample", "open_run", "simulate"]

# A checkout has this package in four folders (edge_runtime, client, server, simulation), an installation in one.
__path__ = extend_path(__path__, __name__)
if __spec__ is not None:
    # Tools that ask for the package's folders without importing its parts see all four.
    __spec__.submodule_search_locations = __path__

from fedaffect.edge.lazy_names import lazy_names
from fedaffect.edge.system.no_telemetry import silence

# Before anything else: libraries read these settings when they are imported.
silence()

# Imported when first asked for: a device has no torch, and most programs need only one of these.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fedaffect.edge": ("EdgeRuntime", "FedAffectError", "Prediction", "Sample"),
        "fedaffect.simulation": ("open_run", "simulate"),
    },
)
