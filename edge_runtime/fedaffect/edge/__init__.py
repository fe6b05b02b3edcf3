"""What a device runs: preprocessing, ONNX encoders and fusion. Never torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.edge.lazy_names import lazy_names

if TYPE_CHECKING:
    from fedaffect.edge.errors import FedAffectError
    from fedaffect.edge.prediction import Prediction
    from fedaffect.edge.runtime import EdgeRuntime, sample_of
    from fedaffect.edge.sample import Frames, Sample, Waveform

__all__ = ["EdgeRuntime", "FedAffectError", "Frames", "Prediction", "Sample", "Waveform", "sample_of"]

# Loaded when asked for: most who import a part of this room need no ONNX Runtime for it.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fedaffect.edge.errors": ("FedAffectError",),
        "fedaffect.edge.prediction": ("Prediction",),
        "fedaffect.edge.runtime": ("EdgeRuntime", "sample_of"),
        "fedaffect.edge.sample": ("Frames", "Sample", "Waveform"),
    },
)
