"""The face networks that this project trained, as small files beside their card.

The student is kept in half precision, and as the INT8 graph that devices run. The teacher's convolutions are kept as
INT8 with one scale an output channel, and computed in FP32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fedaffect.edge.errors import BundleError
from fedaffect.server.models.faces.network import SIZES, ExpressionNet

FOLDER: Final = Path(__file__).with_name("trained")
STUDENT: Final = FOLDER / "student.safetensors"
STUDENT_INT8: Final = FOLDER / "student.int8.onnx"
TEACHER: Final = FOLDER / "teacher.safetensors"
_SCALE: Final = ".scale"
PACKAGE: Final = "package"
# What training leaves of it, where transformers' networks have a description too.
SAVED: Final = "model.safetensors"
_OF_TRANSFORMERS: Final = "config.json"


def load_student() -> ExpressionNet:
    """The network that devices run, ready to infer, in FP32.

    Raises
    ------
    BundleError
        If its file is missing or damaged.
    """
    return _filled("student", {name: tensor.float() for name, tensor in _read(STUDENT).items()})


def load_teacher() -> ExpressionNet:
    """The larger network from which the student was distilled, ready to infer, in FP32.

    Raises
    ------
    BundleError
        If its file is missing or damaged.
    """
    stored = _read(TEACHER)
    weights = {}
    for name, tensor in stored.items():
        if not name.endswith(_SCALE):
            scale = stored.get(name + _SCALE)
            weights[name] = tensor.float() if scale is None else tensor.float() * scale
    return _filled("teacher", weights)


def own_faces(source: str) -> ExpressionNet | None:
    """The larger network where a source is ``package``, or a folder that training left it in; None for all others.

    Raises
    ------
    BundleError
        If its file is missing or damaged.
    """
    if source == PACKAGE:
        return load_teacher()
    folder = Path(source).expanduser()
    if not (folder / SAVED).is_file() or (folder / _OF_TRANSFORMERS).exists():
        return None
    return _filled("teacher", _read(folder / SAVED))


def save_student(network: ExpressionNet, path: Path = STUDENT) -> None:
    """Write in half precision."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.half().contiguous() for name, tensor in _floats(network).items()}, path)


def save_teacher(network: ExpressionNet, path: Path = TEACHER) -> None:
    """Write convolutions as INT8 by output channel, the rest in FP32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = {}
    for name, tensor in _floats(network).items():
        if tensor.ndim < 2:
            stored[name] = tensor.contiguous()
            continue
        scale = tensor.abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True).clamp(min=1e-12) / 127
        stored[name] = (tensor / scale).round().to(torch.int8).contiguous()
        stored[name + _SCALE] = scale.contiguous()
    save_file(stored, path)


def _floats(network: ExpressionNet) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path} cannot be read ({error}); install fedaffect again") from error


def _filled(size: str, weights: dict[str, Tensor]) -> ExpressionNet:
    network = ExpressionNet(SIZES[size])
    missing, strange = network.load_state_dict(weights, strict=False)
    if strange or any(not name.endswith("num_batches_tracked") for name in missing):
        raise BundleError(f"the {size}'s weights do not fit this version's network; install fedaffect again")
    return network.eval()
