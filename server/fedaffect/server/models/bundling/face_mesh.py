"""The face mesh of MediaPipe as ONNX: 468 landmarks of a face, from the file that its package carries.

Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs" (2019). The file is a graph of
TensorFlow Lite, a FlatBuffer; of that format only what this network uses is read. Half-precision weights become single.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.packages import FACE_MESH

SIDE: Final = 192
PIXELS, LANDMARKS, PRESENCE = "pixels", "landmarks", "presence"
_FILE: Final = "modules/face_landmark/face_landmark.tflite"
_OPSET: Final = 17
# Codes of operators and kinds of tensors in TensorFlow Lite's schema.
_ADD, _CONV, _DEPTHWISE, _DEQUANTIZE, _MAX_POOL, _PAD, _PRELU = 0, 3, 4, 6, 17, 34, 54
_KINDS: Final = {0: np.float32, 1: np.float16, 2: np.int32}
# Of input and outputs.
_SHAPES: Final = [[1, SIDE, SIDE, 3], [1, 1, 1, 1404], [1, 1, 1, 1]]
# Operator, constant inputs, attributes.
Translated: TypeAlias = tuple[str, list[NDArray[Any]], dict[str, Any]]


def write_face_mesh(target: Path) -> None:
    """Write the network of the installed package.

    It takes ``pixels`` (B, 3, 192, 192), RGB from 0 to 1, and gives ``landmarks`` (B, 1404), x, y and depth of 468
    points in pixels, and ``presence`` (B, 1), the logit of a face being there.

    Parameters
    ----------
    target : Path

    Raises
    ------
    BundleError
        If the package is not installed, or its file is another network.
    """
    source = FACE_MESH.file(_FILE)
    try:
        onnx.save(_converted(source.read_bytes()), target)
    except (LookupError, ValueError, TypeError) as error:
        raise BundleError(
            f"{source} is not the face mesh ({error!r}); install {FACE_MESH.distribution} again"
        ) from error


class _Table:
    """A table of a FlatBuffer: fields by number."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - self._read("<i4", at)

    def number(self, field: int, kind: str = "<i4", default: int = 0) -> int:
        place = self._place(field)
        return self._read(kind, place) if place else default

    def table(self, field: int) -> _Table:
        place = self._place(field)
        return _Table(self._data, place + self._read("<u4", place))

    def tables(self, field: int) -> list[_Table]:
        start, count = self._vector(field)
        places = [start + 4 * i for i in range(count)]
        return [_Table(self._data, place + self._read("<u4", place)) for place in places]

    def numbers(self, field: int, kind: str = "<i4") -> NDArray[Any]:
        start, count = self._vector(field)
        return np.frombuffer(self._data, kind, count, start)

    def _vector(self, field: int) -> tuple[int, int]:
        place = self._place(field)
        if not place:
            return 0, 0
        start = place + self._read("<u4", place)
        return start + 4, self._read("<u4", start)

    def _place(self, field: int) -> int:
        entry = 4 + 2 * field
        offset = self._read("<u2", self._fields + entry) if entry < self._read("<u2", self._fields) else 0
        return self._at + offset if offset else 0

    def _read(self, kind: str, at: int) -> int:
        return int(np.frombuffer(self._data, kind, 1, at)[0])


def _converted(data: bytes) -> onnx.ModelProto:
    root = _Table(data, int(np.frombuffer(data, "<u4", 1)[0]))
    codes = [max(code.number(0, "<i1"), code.number(3)) for code in root.tables(1)]
    graph, buffers = root.tables(2)[0], root.tables(4)
    tensors, (start,), outputs = graph.tables(0), graph.numbers(1), graph.numbers(2)
    if [tensors[place].numbers(0).tolist() for place in (start, *outputs)] != _SHAPES:
        raise ValueError("its inputs or outputs are others")

    def constant(place: int) -> NDArray[Any]:
        tensor = tensors[place]
        kind = _KINDS[tensor.number(1, "<i1")]
        return buffers[tensor.number(2, "<u4")].numbers(0, "u1").view(kind).reshape(tensor.numbers(0))

    def name(place: int) -> str:
        return PIXELS if place == start else f"t{place}"

    weights: dict[int, NDArray[Any]] = {}
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    for operator in graph.tables(3):
        code, (first, *rest), (out,) = codes[operator.number(0, "<u4")], operator.numbers(1), operator.numbers(2)
        if code == _DEQUANTIZE:
            weights[out] = constant(first).astype(np.float32)
            continue
        inputs = [name(first)]
        if code == _ADD:
            made: Translated = ("Add", [], _plain(operator, 0))
            inputs += [name(place) for place in rest]
        else:
            given = [weights[place] if place in weights else constant(place) for place in rest]
            made = _TRANSLATED[code](operator, *given)
        kind, arrays, attributes = made
        for array in arrays:
            inputs.append(f"w{len(initializers)}")
            initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), inputs[-1]))
        nodes.append(helper.make_node(kind, inputs, [name(out)], **attributes))
    shapes = {LANDMARKS: ("faces", 1404), PRESENCE: ("faces", 1)}
    nodes += [helper.make_node("Flatten", [name(place)], [out]) for place, out in zip(outputs, shapes, strict=True)]
    network = helper.make_graph(
        nodes,
        "face_mesh",
        [helper.make_tensor_value_info(PIXELS, TensorProto.FLOAT, ("faces", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, shape) for out, shape in shapes.items()],
        initializers,
    )
    return helper.make_model(network, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)


# Everything is turned from channels last to channels first.
def _convolution(operator: _Table, weight: NDArray[Any], bias: NDArray[Any]) -> Translated:
    options = operator.table(4)
    return "Conv", [weight.transpose(0, 3, 1, 2), bias], {**_strides(options), **_plain(operator, 3)}


def _depthwise(operator: _Table, weight: NDArray[Any], bias: NDArray[Any]) -> Translated:
    turned = weight.transpose(3, 0, 1, 2)  # (1, H, W, C) -> (C, 1, H, W)
    return "Conv", [turned, bias], {**_strides(operator.table(4)), **_plain(operator, 4), "group": len(turned)}


def _max_pool(operator: _Table) -> Translated:
    options = operator.table(4)
    kernel = [options.number(4), options.number(3)]
    return "MaxPool", [], {**_strides(options), **_plain(operator, 5), "kernel_shape": kernel}


def _pad(operator: _Table, widths: NDArray[Any]) -> Translated:
    turned = widths[[0, 3, 1, 2]]
    return "Pad", [np.concatenate([turned[:, 0], turned[:, 1]]).astype(np.int64)], {}


def _prelu(operator: _Table, slopes: NDArray[Any]) -> Translated:
    return "PRelu", [slopes.transpose(2, 0, 1)], {}


def _strides(options: _Table) -> dict[str, Any]:
    padding = "VALID" if options.number(0, "<i1") else "SAME_UPPER"
    return {"strides": [options.number(2), options.number(1)], "auto_pad": padding}


def _plain(operator: _Table, field: int) -> dict[str, Any]:
    """Nothing, once it is sure that no activation is fused into an operator."""
    if operator.table(4).number(field, "<i1"):
        raise ValueError("it has fused activations")
    return {}


_TRANSLATED: Final[Mapping[int, Callable[..., Translated]]] = {
    _CONV: _convolution,
    _DEPTHWISE: _depthwise,
    _MAX_POOL: _max_pool,
    _PAD: _pad,
    _PRELU: _prelu,
}
