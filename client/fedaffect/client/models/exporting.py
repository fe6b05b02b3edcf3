"""Whether a graph is being exported, asked without importing the exporter."""

from __future__ import annotations

import sys


def in_export() -> bool:
    """As ``torch.onnx.is_in_onnx_export``, which takes most of a second of every process that never exports."""
    exporter = sys.modules.get("torch.onnx")
    return exporter is not None and bool(exporter.is_in_onnx_export())
