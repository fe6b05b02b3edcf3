"""Private parts of torch: oneDNN's packed linear layers, and what an export is traced with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def has_bfloat16_tiles() -> bool:
    """Whether this machine's processor has tiles of bfloat16."""
    return bool(torch.cpu._is_amx_tile_supported())


def can_pack(precision: str) -> bool:
    """Whether oneDNN is there, and packs weights of this precision."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return precision != "bf16" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def packed_weight(weight: Tensor) -> Tensor:
    """A linear layer's weight as oneDNN wants it, for :func:`packed_linear`."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
    return packed


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(..., inside) to (..., outside), by a weight of :func:`packed_weight`."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def core_decompositions() -> Any:
    """How torch writes each operator in core ATen ones, for ``make_fx``."""
    from torch._decomp import core_aten_decompositions

    return core_aten_decompositions()
