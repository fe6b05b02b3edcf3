"""Smaller graphs: INT8 where it pays, half-precision storage where it does not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

Feed = dict[str, NDArray[Any]]
_SMALL: Final = 1024
# Operators that compute in integers once ONNX Runtime has loaded the graph.
INTEGER_OPERATORS: Final = ("MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QLinearConv", "QGemm")


def quantise_dynamic(source: Path, target: Path, operators: Sequence[str] = ("MatMul", "Gemm")) -> None:
    """INT8 weights by channel, activations quantised on the way: for transformers.

    Weights keep to 7 bits: processors without VNNI add pairs of products in 16 bits, which 8 bits overflow, and the
    same bundle would then give other features on another device.

    Parameters
    ----------
    source, target : Path
        FP32 and INT8 graphs.
    operators : sequence of str
        Only these. Convolutions among them made wav2vec2 slower, not faster (378 to 703 ms for 3 s on one core).
    """
    with _quiet():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=list(operators),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )


def quantise_static(
    source: Path,
    target: Path,
    calibration: Sequence[Feed],
    *,
    spare: Sequence[str] = (),
    seven_bits: bool = False,
) -> None:
    """INT8 weights by channel and INT8 activations with ranges found on calibration data: for convolutions.

    Parameters
    ----------
    source, target : Path
        FP32 and INT8 graphs.
    calibration : sequence of feeds
        Inputs whose activations set the ranges.
    spare : sequence of str
        Names of nodes that stay in FP32.
    seven_bits : bool
        Weights of 7 bits, which no processor overflows; see `quantise_dynamic`.
    """
    with _quiet():
        quantize_static(
            source,
            target,
            _Reader(calibration),
            op_types_to_quantize=["Conv", "Add", "Clip", "Relu"],
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=seven_bits,
            nodes_to_exclude=list(spare),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next feed, None after the last."""
        return next(self._feeds, None)


def fold(path: Path) -> None:
    """Let ONNX Runtime work out constants and take padding into its convolutions, in place.

    TensorFlow pads unevenly where it strides; torch exports that as nodes of their own. Left there they part each
    convolution from its neighbours, and INT8 comes out no faster than FP32.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    folded = path.with_suffix(".folded.onnx")
    options.optimized_model_filepath = str(folded)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    folded.replace(path)


def halve_weights(source: Path, target: Path) -> None:
    """Store large FP32 weights in half precision; a Cast, which ONNX Runtime folds when it loads, brings them back.

    The file is half as large and just as fast, and computes in FP32 as before.

    Parameters
    ----------
    source, target : Path
        Graphs; nothing that is not FP32 is touched.
    """
    model = onnx.load(source)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _SMALL:
            continue
        name = tensor.name
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT, name=f"{name}_cast"))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.save(model, target)


def operators(path: Path) -> Counter[str]:
    """How many of each operator a graph has as ONNX Runtime will run it, after its own rewriting.

    A graph whose weights alone are quantised is folded back to FP32 there; its file does not show that.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    optimised = path.with_suffix(".optimised.onnx")
    options.optimized_model_filepath = str(optimised)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    try:
        return Counter(node.op_type for node in onnx.load(optimised).graph.node)
    finally:
        optimised.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice to run shape inference first out of the user's terminal."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
