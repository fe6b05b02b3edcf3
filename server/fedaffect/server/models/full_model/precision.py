"""Networks made ready to compute: on a GPU in half precision, on a processor with weights laid out for it.

On a processor, oneDNN lays a weight matrix out again at every call unless it is given one that already is. In bfloat16
only the products are rounded: what runs between layers and all norms stay FP32, which keeps each token's features
within a cosine of 0.9999 of FP32's (ViT-B, BERT-base, wav2vec2-base; random weights) at less than half the time where
the processor multiplies bfloat16 in tiles.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.int8 import Example, quantised
from fedaffect.server.models.torch_compat import can_pack, packed_linear, packed_weight


def ready(network: nn.Module, compute: Compute, key: str, example: Example | None) -> nn.Module:
    """The network on its device and in its precision.

    Parameters
    ----------
    network : nn.Module
        FP32; changed in place.
    compute : Compute
    key : str
        Of the FP32 encoder.
    example : Example, optional
        An input, for networks of which there is an INT8 form; the others stay in FP32 where that is asked for.
    """
    for module in list(network.modules()):
        if is_parametrized(module, "weight"):
            # A weight norm would be worked out at every call.
            remove_parametrizations(module, "weight")
    network.requires_grad_(False)
    if compute.precision == "int8" and example is not None:
        return quantised(network, example, key)
    if compute.is_gpu:
        kind = torch.bfloat16 if compute.precision == "bf16" else torch.float32
        network = network.to(compute.device, kind)
    elif compute.packed and not compute.compile and can_pack(compute.precision):
        _pack(network, torch.bfloat16 if compute.precision == "bf16" else torch.float32)
    if compute.compile:
        # CUDA graphs where there are any; shapes come in buckets, so each is compiled once.
        return torch.compile(network, mode="reduce-overhead" if compute.is_gpu else "default", dynamic=False)  # type: ignore[return-value]
    return network


def _pack(network: nn.Module, kind: torch.dtype) -> None:
    for module in list(network.modules()):
        # WavLM's attention takes its layers' weights instead of calling them.
        if hasattr(module, "gru_rel_pos_linear"):
            continue
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child, kind))
            # The first convolution of a waveform network sees raw sound, and stays.
            elif kind is torch.bfloat16 and type(child) is nn.Conv1d and child.in_channels > 80:
                setattr(module, name, RoundedConv1d(child))


class PackedLinear(nn.Module):
    """A linear layer whose weight lies as oneDNN wants it.

    Parameters
    ----------
    linear : nn.Linear
    kind : torch.dtype
        Of the product; what goes in and comes out is FP32.
    """

    def __init__(self, linear: nn.Linear, kind: torch.dtype) -> None:
        super().__init__()
        self.kind = kind
        self.packed = packed_weight(linear.weight.detach().to(kind))
        self.bias = None if linear.bias is None else linear.bias.detach().to(kind)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inside) to (..., outside)."""
        return packed_linear(x.to(self.kind), self.packed, self.bias).float()


class RoundedConv1d(nn.Module):
    """A convolution that multiplies in bfloat16; FP32 in and out."""

    def __init__(self, convolution: nn.Conv1d) -> None:
        super().__init__()
        self.convolution = convolution.to(torch.bfloat16)
        # What surrounds it asks for its weight's type.
        self.weight = torch.empty(0)
        self.kernel_size, self.stride = convolution.kernel_size, convolution.stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside, T) to (B, outside, T')."""
        made: Tensor = self.convolution(x.to(torch.bfloat16))
        return made.float()
