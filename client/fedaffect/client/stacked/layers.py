"""Linear, LayerNorm and Embedding of K clients at once, recorded as one client's are.

A model's forward runs as it is, over the batches of all clients one after the other, (K B, ...): these layers alone
hold parameters, and stand in for its own with parameters of shape (K, ...). Everything else in a model treats its
examples one by one, or it could not be trained with privacy. Norms of per-example gradients need no parameters, so
they are those of :mod:`fedaffect.client.privacy.recording`; sums are taken within each client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fedaffect.client.privacy.recording import (
    EmbeddingRecord,
    Kinds,
    LayerNormRecord,
    LayerRecord,
    LinearRecord,
    applied,
)


class StackedRecord(LayerRecord):
    """What every stacked layer has: the parameters of K clients.

    ``weight`` has shape (K, ...), and ``bias`` where the layer has one; they are put here by who owns them.
    """

    weight: Tensor
    bias: Tensor | None = None


class StackedLinear(StackedRecord, LinearRecord):
    """y_k = W_k x_k + b_k."""

    def add_weighted(self, factors: dict[str, Tensor], out: dict[str, Tensor]) -> None:
        """W_k: sum_i f_i sum_t g_it a_it^T over the examples of client k; b_k: sum_i f_i sum_t g_it."""
        a, g = self.joined()
        K = len(out["weight"])
        weighted = _by_client(g * factors["weight"][:, None, None], K)  # (K, B T, O)
        out["weight"].copy_(torch.bmm(weighted.transpose(1, 2), _by_client(a, K)))
        if "bias" in out:
            if factors["bias"] is not factors["weight"]:
                weighted = _by_client(g * factors["bias"][:, None, None], K)
            out["bias"].copy_(weighted.sum(dim=1))


class StackedLayerNorm(StackedRecord, LayerNormRecord):
    """y_k = w_k x^_k + b_k."""

    def add_weighted(self, factors: dict[str, Tensor], out: dict[str, Tensor]) -> None:
        """Sum over each client's examples, (K B, D) -> (K, D)."""
        for name, gradient in self._gradients().items():
            weighted = gradient * factors[name][:, None]
            out[name].copy_(weighted.view(len(out[name]), -1, weighted.shape[1]).sum(dim=1))


class StackedEmbedding(StackedRecord, EmbeddingRecord):
    """Rows of each client's own table."""

    def add_weighted(self, factors: dict[str, Tensor], out: dict[str, Tensor]) -> None:
        """Add every looked-up row's weighted gradient to it."""
        indices, g = self.joined()
        K = len(out["weight"])
        place = _clients_of(indices, K)
        out["weight"].zero_().index_put_((place, indices), g * factors["weight"][:, None, None], accumulate=True)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, record: StackedLinear) -> Tensor:
        ctx.record = record
        ctx.save_for_backward(x, weight)
        mine = _by_client(x, len(weight))  # (K, B T, I)
        across = weight.transpose(1, 2)
        y = torch.bmm(mine, across) if bias is None else torch.baddbmm(bias[:, None], mine, across)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        ctx.record.note(x, g)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None
        return torch.bmm(_by_client(g, len(weight)), weight).view(x.shape), None, None, None


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, record: StackedLayerNorm, eps: float
    ) -> Tensor:
        K, shape = len(weight), x.shape[-1:]
        standardised, mean, deviation = torch.native_layer_norm(x, shape, None, None, eps)
        ctx.record = record
        ctx.save_for_backward(x, mean, deviation, standardised, weight)
        y = _by_client(standardised, K) * weight[:, None]
        return (y if bias is None else y.add_(bias[:, None])).view(x.shape)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        x, mean, deviation, standardised, weight = ctx.saved_tensors
        ctx.record.note(standardised, g)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        inner = (_by_client(g, len(weight)) * weight[:, None]).view(x.shape)
        backward = torch.ops.aten.native_layer_norm_backward
        back, _, _ = backward(inner, x, list(x.shape[-1:]), mean, deviation, None, None, [True, False, False])
        return back, None, None, None, None


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, indices: Tensor, weight: Tensor, record: StackedEmbedding) -> Tensor:
        ctx.record = record
        ctx.save_for_backward(indices)
        return weight[_clients_of(indices, len(weight)), indices]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, None, None]:
        (indices,) = ctx.saved_tensors
        ctx.record.note(indices, g)
        return None, None, None


def _by_client(values: Tensor, clients: int) -> Tensor:
    """(K B, ..., W) -> (K, B ..., W)."""
    return values.reshape(clients, -1, values.shape[-1])


def _clients_of(indices: Tensor, clients: int) -> Tensor:
    """Whose each example is, shape (K B, 1, ...)."""
    own = torch.arange(clients, device=indices.device).repeat_interleave(len(indices) // clients)
    return own.view(-1, *[1] * (indices.dim() - 1))


def _linear(record: StackedLinear) -> Callable[[Tensor], Tensor]:
    return lambda x: applied(_Linear, x, record.weight, record.bias, record)


def _layer_norm(record: StackedLayerNorm) -> Callable[[Tensor], Tensor]:
    eps = record.module.eps
    return lambda x: applied(_LayerNorm, x, record.weight, record.bias, record, eps)


def _embedding(record: StackedEmbedding) -> Callable[[Tensor], Tensor]:
    return lambda x: applied(_Embedding, x, record.weight, record)


STACKED_KINDS: Kinds = {
    nn.Linear: (StackedLinear, _linear),
    nn.LayerNorm: (StackedLayerNorm, _layer_norm),
    nn.Embedding: (StackedEmbedding, _embedding),
}
