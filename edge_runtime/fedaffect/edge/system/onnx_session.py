"""ONNX Runtime sessions as a device wants them: one thread each, quiet, clear when they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime  # type: ignore[import-untyped]

from fedaffect.edge.errors import BundleError


def open_session(path: Path) -> Any:
    """An ONNX graph ready to run on one thread.

    One thread, because callers run several samples at once instead: that keeps results free of how many there are.

    Raises
    ------
    BundleError
        If the file is missing or ONNX Runtime cannot load it.
    """
    if not path.is_file():
        raise BundleError(f"{path} does not exist; build the bundle again with: fedaffect bundle build")
    return _opened(str(path), str(path))


def session_of_bytes(graph: bytes, where: str) -> Any:
    """A graph in memory ready to run on one thread; ``where`` names it in errors.

    Raises
    ------
    BundleError
        If ONNX Runtime cannot load it.
    """
    return _opened(graph, where)


def _opened(graph: str | bytes, where: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    # ONNX Runtime raises a dozen classes here that share no base of their own.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise BundleError(f"{where} is not a graph that loads ({reason}); build the bundle again") from error
