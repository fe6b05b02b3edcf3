"""What a device learns with: torch where it is installed, else the training step of its bundle."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

AUTO, TORCH, ONNX = "auto", "torch", "onnx"
ENGINES: Final = (AUTO, TORCH, ONNX)
# For messages of at most a line.
WITH_TORCH: Final = "pip install 'fedaffect[client]'"


def engine_of(asked: str) -> str:
    """The engine that a device's setting comes to: the same as long as the installation is.

    Parameters
    ----------
    asked : {"auto", "torch", "onnx"}

    Returns
    -------
    {"torch", "onnx"}
    """
    if asked != AUTO:
        return asked
    return TORCH if _has_torch() else ONNX


def _has_torch() -> bool:
    try:
        return find_spec("torch") is not None
    except ImportError:
        return False
