"""INT8 on processors: an encoder's network exported, its matrix products quantised, run by ONNX Runtime.

Sentences, clips and pictures go through one at a time: a batch would share the range of its activations, and an
answer would depend on its neighbours. A processor loses little by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from torch import Tensor, nn

from fedaffect.edge.system.folders import cache_folder
from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.models.bundling.export import to_onnx
from fedaffect.server.models.bundling.precision import quantise_dynamic
from fedaffect.server.models.transformers_compat import set_attention

# Raised when the same network would be quantised otherwise.
_EDITION: Final = 1


@dataclass(frozen=True, slots=True)
class Example:
    """One input of an encoder's network.

    Parameters
    ----------
    name : str
        Of the input.
    values : Tensor, shape (1, ...)
        One sample.
    free : mapping of int to str
        Dimensions that vary, with their names.
    """

    name: str
    values: Tensor
    free: Mapping[int, str]


class QuantisedNetwork(nn.Module):
    """An encoder's network in ONNX Runtime, with the face of the torch module that it was made from.

    Parameters
    ----------
    path : Path
        The INT8 graph, of one input and one output.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._session = open_session(path)
        self._input = self._session.get_inputs()[0].name

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Features of each sample by itself, (B, ...) to (B, ...); nothing is padded, so no mask is looked at."""
        each = [torch.from_numpy(self._session.run(None, {self._input: one[None].numpy()})[0]) for one in values]
        return torch.cat(each)


class _Unmasked(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> Tensor:
        features: Tensor = self.network(values, None)
        return features


def quantised(network: nn.Module, example: Example, key: str) -> QuantisedNetwork:
    """The network in INT8, from the cache where it was made before.

    Parameters
    ----------
    network : nn.Module
        Frozen, FP32; takes values and a mask.
    example : Example
        What it takes.
    key : str
        Of the FP32 encoder, under which the graph is kept.

    Raises
    ------
    BundleError
        If it cannot be expressed in ONNX.
    """
    target = _cache() / f"{key[:40]}-{_EDITION}.onnx"
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        for module in network.modules():
            # The fused attention does not export; the plain one computes the same.
            set_attention(getattr(module, "config", None), "eager")
        with TemporaryDirectory(prefix=".making-", dir=target.parent) as folder:
            full, small = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
            to_onnx(_Unmasked(network), example.name, example.values, example.free, full)
            quantise_dynamic(full, small)
            small.replace(target)
    return QuantisedNetwork(target)


def _cache() -> Path:
    return cache_folder() / "int8"
