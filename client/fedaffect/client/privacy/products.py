"""Products of matrices on the CPU by oneDNN: on processors that MKL does not favour it takes half of MKL's time.

torch hands single precision to MKL, and to oneDNN only through the operator that its compiler uses. Both compute in
single precision; the last bits differ. The first product of each shape takes a third of a millisecond more: oneDNN
compiles it then.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

# Multiplications below which the ten microseconds that a call of oneDNN takes are more than it saves.
_LEAST_WORK = 1 << 20
_pointwise: Callable[..., Tensor] | None = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None  # type: ignore[no-untyped-call]
)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product x W^T + b, which autograd does not see through.

    Parameters
    ----------
    x : Tensor, shape (..., I)
    weight : Tensor, shape (O, I)
    bias : Tensor, shape (O,), optional

    Returns
    -------
    Tensor, shape (..., O)
    """
    work = x.numel() * len(weight)
    if _pointwise is None or work < _LEAST_WORK or x.device.type != "cpu" or x.dtype != torch.float32:
        return functional.linear(x, weight, bias)
    return _pointwise(x, weight, bias, "none", [], "")
