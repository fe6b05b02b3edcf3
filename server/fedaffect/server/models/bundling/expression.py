"""The face encoder that this project trained: exported, and quantised on real faces when its training is done."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from fedaffect.edge.bundle import Source
from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.server.models.bundling.export import to_onnx
from fedaffect.server.models.bundling.precision import Feed, fold, quantise_static
from fedaffect.server.models.faces.network import SIDE, BothViews, ExpressionNet
from fedaffect.server.models.faces.weights import STUDENT, STUDENT_INT8, load_student

LARGEST_BYTES: Final = 2_000_000
# FER+ faces are cropped nearer than most: on 313 of 400 of them, padded by half their side so that CenterFace finds
# them, the picture is 1.085 times as long as the found box (quartiles 1.02 and 1.16) and its centre lies within 2 %
# of the box's. The network is trained with shifts and scales of about that spread.
FACE_MARGIN: Final = 0.1
SETTINGS: Final = VisionSettings(SIDE, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), face_margin=FACE_MARGIN)
_LICENCE: Final = "research and other non-commercial use; see its model card"


def is_trained() -> bool:
    """Whether this installation carries the trained network."""
    return STUDENT.is_file()


def expression_source() -> Source:
    """What a manifest says of the network."""
    return Source("fedaffect expression network", version("fedaffect"), _LICENCE)


def export_student(target: Path) -> int:
    """Write the FP32 graph of the trained network; returns the width of its features.

    Raises
    ------
    BundleError
        If the weights are missing.
    """
    network = load_student()
    _export(network, target)
    return network.width


def committed_int8(source: Path, target: Path) -> None:
    """Put the committed INT8 graph into ``target``; ``source``, the FP32 graph, is what it was made from.

    Raises
    ------
    BundleError
        If this installation lacks it.
    """
    del source
    if not STUDENT_INT8.is_file():
        raise BundleError(f"{STUDENT_INT8} is missing; install fedaffect again, or build with --no-quantise")
    shutil.copyfile(STUDENT_INT8, target)


def export_student_int8(network: ExpressionNet, calibration_pictures: NDArray[np.uint8], target: Path) -> None:
    """Quantise the network on real faces, and write the graph that devices run.

    Weights by output channel, activations with ranges found on the pictures, as QuantizeLinear and DequantizeLinear
    around every convolution. Taking the grey value and standardising it stay in FP32: they divide by what they
    measure, and cost nothing.

    Parameters
    ----------
    network : ExpressionNet
        Trained.
    calibration_pictures : uint8 array, shape (N, 48, 48)
        Grey faces; a few hundred of the training split will do.
    target : Path
        Where to write: ``fedaffect.server.models.faces.weights.STUDENT_INT8`` for the committed graph.

    Raises
    ------
    DataError
        If the pictures have another shape or there are none.
    BundleError
        If the graph comes out larger than 2 MB, which a device's share of it may be.
    """
    pictures = np.asarray(calibration_pictures)
    if pictures.dtype != np.uint8 or pictures.ndim != 3 or pictures.shape[1:] != (SIDE, SIDE) or len(pictures) == 0:
        raise DataError(f"calibration takes uint8 faces (N, {SIDE}, {SIDE}), not {pictures.dtype} {pictures.shape}")
    feeds = [as_feed(picture) for picture in pictures]
    with TemporaryDirectory(prefix="fedaffect-faces-") as scratch:
        full, small = Path(scratch) / "full.onnx", Path(scratch) / "int8.onnx"
        _export(network, full)
        fold(full)
        quantise_static(
            full,
            small,
            feeds,
            spare=before_first_convolution(full),
            # Processors with AVX2 and without VNNI add pairs of products in 16 bits, which 8 bits overflow, and
            # features would then differ between devices.
            seven_bits=True,
        )
        size = small.stat().st_size
        if size > LARGEST_BYTES:
            raise BundleError(f"the INT8 graph has {size} bytes, more than {LARGEST_BYTES}; make the network smaller")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(small, target)


def as_feed(picture: NDArray[np.uint8]) -> Feed:
    """A grey face (48, 48) as the network's input (1, 3, 48, 48) in 0..1."""
    pixels = np.repeat(picture.astype(np.float32)[None, None] / 255, 3, axis=1)
    return {"pixels": np.ascontiguousarray(pixels)}


def before_first_convolution(path: Path) -> list[str]:
    """Names of a graph's nodes that come before its first convolution."""
    names: list[str] = []
    for node in onnx.load(path).graph.node:
        if node.op_type == "Conv":
            return names
        names.append(node.name)
    raise BundleError(f"{path} has no convolution; export it again")


def _export(network: ExpressionNet, target: Path) -> None:
    """Features of both views of each face: twice the work of one, and still a fraction of what a face may take."""
    to_onnx(BothViews(network), "pixels", torch.rand(1, 3, SIDE, SIDE), {0: "pictures"}, target)
