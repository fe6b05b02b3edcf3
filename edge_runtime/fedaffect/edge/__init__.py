"""What a device runs: preprocessing, ONNX encoders and fusion. Never torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedaffect.edge.prediction import Prediction
    from fedaffect.edge.runtime import EdgeRuntime
    from fedaffect.edge.sample import Sample

__all__ = ["EdgeRuntime", "Prediction", "Sample"]

# Loaded when asked for: most who import a part of this room need no ONNX Runtime for it.
_HOMES = {
    "EdgeRuntime": "fedaffect.edge.runtime",
    "Prediction": "fedaffect.edge.prediction",
    "Sample": "fedaffect.edge.sample",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
