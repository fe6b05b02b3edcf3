"""ONNX Runtime sessions as a device wants them: one thread each, quiet, clear when they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime  # type: ignore[import-untyped]

from edge_runtime.errors import BundleError


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
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # ONNX Runtime raises half a dozen unrelated classes here, none with a common base of its own.
    except (RuntimeError, ValueError, TypeError) as error:
        raise BundleError(
            f"{path} is not a graph that ONNX Runtime can load ({error}); build the bundle again"
        ) from error
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):
            raise BundleError(f"{path} is damaged ({error}); build the bundle again") from error
        raise
