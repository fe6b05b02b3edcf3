"""What one backward pass says about each example: layer inputs and output gradients, written down as they come by.

The idea of book-keeping (Bu et al., "Differentially Private Optimization on Large Model at Small Cost", ICML 2023,
algorithm 1): norms of per-example gradients and their clipped sum both follow from a layer's inputs and the
gradients of its outputs, so that one forward and one backward pass are enough and no per-example gradient is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.privacy.products import linear
from fedaffect.edge.errors import ConfigError, TrainingError


class LayerRecord:
    """One layer's share of every example's gradient, gathered over all calls of the layer in one step.

    Parameters
    ----------
    module : Module
        With parameters of its own.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.calls: list[tuple[Tensor, Tensor]] = []

    def clear(self) -> None:
        """Forget the last step."""
        self.calls = []

    def note(self, received: Tensor, gradient: Tensor) -> None:
        """Keep what a call received, shape (B, ...), and the gradient of what it gave, shape (B, ...)."""
        self.calls.append((received, gradient))

    def joined(self) -> tuple[Tensor, Tensor]:
        """Inputs (B, T, I) and output gradients (B, T, O), calls one after the other along T."""
        pairs = [(as_sequence(a), as_sequence(g)) for a, g in self.calls]
        if len(pairs) == 1:
            return pairs[0]
        return torch.cat([a for a, _ in pairs], dim=1), torch.cat([g for _, g in pairs], dim=1)

    def square_norms(self) -> dict[str, Tensor]:
        """Squared norm of each example's gradient, shape (B,), by parameter name within the layer."""
        raise NotImplementedError

    def add_weighted(self, factors: dict[str, Tensor], out: dict[str, Tensor]) -> None:
        """Write the sum over examples of factor (B,) times gradient into each parameter's place."""
        raise NotImplementedError


class LinearRecord(LayerRecord):
    """y = W x + b over (B, T, I): the gradient of example i is sum_t g_it a_it^T, and sum_t g_it for b."""

    def square_norms(self) -> dict[str, Tensor]:
        """By whichever is cheaper: T x T inner products, or one example's gradient at a time, squared and dropped.

        |sum_t g_t a_t^T|^2 = sum_{t,u} (a_t . a_u)(g_t . g_u), equation 3 of Li et al. (ICLR 2022).

        In double precision: where the products cancel, their rounding in single precision is larger than the norm, and
        a norm that comes out too small lets an example through unclipped.
        """
        a, g = (each.double() for each in self.joined())
        T, width_in, width_out = a.shape[1], a.shape[2], g.shape[2]
        if T * (width_in + width_out) <= width_in * width_out:
            inner = torch.bmm(g, g.transpose(1, 2))  # (B, T, T)
            norms = {"weight": torch.bmm(a, a.transpose(1, 2)).mul_(inner).sum(dim=(1, 2))}
            if self.module.bias is not None:
                norms["bias"] = inner.sum(dim=(1, 2))
        else:
            norms = {"weight": torch.bmm(g.transpose(1, 2), a).square_().sum(dim=(1, 2))}
            if self.module.bias is not None:
                norms["bias"] = g.sum(dim=1).square_().sum(dim=1)
        # Rounding of a sum of products may leave a tiny negative number where the norm is zero.
        return {name: values.clamp_(min=0.0).float() for name, values in norms.items()}

    def add_weighted(self, factors: dict[str, Tensor], out: dict[str, Tensor]) -> None:
        """W: sum_i f_i sum_t g_it a_it^T as one product of matrices; b: sum_i f_i sum_t g_it."""
        a, g = self.joined()
        weighted = (g * factors["weight"][:, None, None]).reshape(-1, g.shape[2])  # (B T, O)
        out["weight"].copy_(linear(weighted.t(), a.reshape(-1, a.shape[2]).t()))
        if self.module.bias is not None:
            if factors["bias"] is not factors["weight"]:
                weighted = (g * factors["bias"][:, None, None]).reshape(-1, g.shape[2])
            torch.sum(weighted, dim=0, out=out["bias"])


class LayerNormRecord(LayerRecord):
    """y = w x^ + b with x^ standardised: the gradient of example i is sum_t g_it x^_it, and sum_t g_it for b.

    They are as small as the layer is wide, so they are simply made. Calls note x^ as what was received.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self._made: dict[str, Tensor] = {}

    def clear(self) -> None:
        """Forget the last step."""
        super().clear()
        self._made = {}

    def _gradients(self) -> dict[str, Tensor]:
        if not self._made:
            standardised, g = self.joined()
            self._made["weight"] = (standardised * g).sum(dim=1)
            if self.module.bias is not None:
                self._made["bias"] = g.sum(dim=1)
        return self._made

    def square_norms(self) -> dict[str, Tensor]:
        """Of the gradients themselves."""
        return {name: gradient.square().sum(dim=1) for name, gradient in self._gradients().items()}

    def add_weighted(self, factors: dict[str, Tensor], out: dict[str, Tensor]) -> None:
        """Sum over examples, (B,) x (B, D) -> (D,)."""
        for name, gradient in self._gradients().items():
            out[name].copy_((factors[name] @ gradient).view_as(out[name]))


class EmbeddingRecord(LayerRecord):
    """A row for each index (B, T): the gradient of example i is g_it in the rows it looked up, sums where twice."""

    def joined(self) -> tuple[Tensor, Tensor]:
        """Indices (B, T) and output gradients (B, T, D)."""
        indices = torch.cat([a.reshape(len(a), -1) for a, _ in self.calls], dim=1)
        gradients = torch.cat([g.reshape(len(g), -1, g.shape[-1]) for _, g in self.calls], dim=1)
        padding = self.module.padding_idx
        if isinstance(padding, int):
            real = indices.ne(padding)
            gradients = gradients * real[:, :, None]
        return indices, gradients

    def square_norms(self) -> dict[str, Tensor]:
        """sum_{t,u} [same row] g_t . g_u."""
        indices, g = self.joined()
        same = indices[:, :, None] == indices[:, None, :]
        g = g.double()
        return {"weight": (torch.bmm(g, g.transpose(1, 2)) * same).sum(dim=(1, 2)).clamp_(min=0.0).float()}

    def add_weighted(self, factors: dict[str, Tensor], out: dict[str, Tensor]) -> None:
        """Add every looked-up row's weighted gradient to it."""
        indices, g = self.joined()
        weighted = (g * factors["weight"][:, None, None]).reshape(-1, g.shape[2])
        out["weight"].zero_().index_add_(0, indices.reshape(-1), weighted)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, record: LayerRecord) -> Tensor:
        ctx.record = record
        ctx.save_for_backward(x, weight)
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        ctx.record.note(x, g)
        return (linear(g, weight.t()) if ctx.needs_input_grad[0] else None), None, None, None


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        record: LayerRecord,
        shape: tuple[int, ...],
        eps: float,
    ) -> Tensor:
        y, mean, deviation = torch.native_layer_norm(x, shape, weight, bias, eps)
        ctx.record, ctx.shape = record, shape
        ctx.save_for_backward(x, mean, deviation, weight, *([] if bias is None else [bias]))
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, None, None, None, None, None]:
        x, mean, deviation, weight, *rest = ctx.saved_tensors
        # The second saved statistic is 1 / sqrt(variance + eps).
        ctx.record.note((x - mean) * deviation, g)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None, None
        bias = rest[0] if rest else None
        backward = torch.ops.aten.native_layer_norm_backward
        back, _, _ = backward(g.contiguous(), x, list(ctx.shape), mean, deviation, weight, bias, [True, False, False])
        return back, None, None, None, None, None


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, indices: Tensor, weight: Tensor, record: LayerRecord) -> Tensor:
        ctx.record = record
        ctx.save_for_backward(indices)
        return functional.embedding(indices, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[None, None, None]:
        (indices,) = ctx.saved_tensors
        ctx.record.note(indices, g)
        return None, None, None


def applied(function: Any, *values: Any) -> Tensor:
    made: Tensor = function.apply(*values)
    return made


def _linear(record: LayerRecord) -> Callable[[Tensor], Tensor]:
    m: Any = record.module
    return lambda x: applied(_Linear, x, m.weight, m.bias, record)


def _layer_norm(record: LayerRecord) -> Callable[[Tensor], Tensor]:
    m: Any = record.module
    return lambda x: applied(_LayerNorm, x, m.weight, m.bias, record, m.normalized_shape, m.eps)


def _embedding(record: LayerRecord) -> Callable[[Tensor], Tensor]:
    m: Any = record.module
    return lambda x: applied(_Embedding, x, m.weight, record)


# Layer -> its record, and what stands in for its forward while recording.
Kinds: TypeAlias = Mapping[type[nn.Module], tuple[type[LayerRecord], Callable[[Any], Callable[[Tensor], Tensor]]]]

KINDS: Kinds = {
    nn.Linear: (LinearRecord, _linear),
    nn.LayerNorm: (LayerNormRecord, _layer_norm),
    nn.Embedding: (EmbeddingRecord, _embedding),
}


class Recorder:
    """Writes down one backward pass of a model, layer by layer.

    Parameters
    ----------
    model : Module
        All its parameters lie in Linear, LayerNorm (over the last dimension) or Embedding, each in one layer only;
        the first dimension of whatever such a layer receives is the batch.
    kinds : mapping
        What records each of these layers.

    Raises
    ------
    ConfigError
        For any other model.
    """

    def __init__(self, model: nn.Module, kinds: Kinds = KINDS) -> None:
        self._model = model
        self.records: dict[str, LayerRecord] = {}
        self._stand_ins: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] = []
        seen: set[int] = set()
        for name, module in model.named_modules():
            own = dict(module.named_parameters(recurse=False))
            if not own:
                continue
            kind = kinds.get(type(module))
            if kind is None or not _recordable(module) or seen & {id(p) for p in own.values()}:
                raise ConfigError(
                    f"fast per-example gradients know Linear, LayerNorm and Embedding, each with parameters of its "
                    f"own, not {type(module).__name__} {name!r}; use --dp-engine opacus"
                )
            seen |= {id(p) for p in own.values()}
            record = kind[0](module)
            self.records[name] = record
            self._stand_ins.append((module, kind[1](record)))

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record what runs backward meanwhile; forwards compute what they always do."""
        for module, stand_in in self._stand_ins:
            module.forward = stand_in
        try:
            yield
        finally:
            for module, _ in self._stand_ins:
                del module.__dict__["forward"]

    def clear(self) -> None:
        """Forget the last step."""
        for record in self.records.values():
            record.clear()

    def require_complete(self) -> None:
        """Check that no parameter was used past its layer, where this would have missed a part of its gradient.

        Raises
        ------
        TrainingError
            Naming the parameter.
        """
        for name, parameter in self._model.named_parameters():
            if parameter.grad is not None:
                raise TrainingError(
                    f"the model uses {name} outside its layer's forward, so per-example gradients would lack a part; "
                    f"call the layer instead"
                )


def _recordable(module: nn.Module) -> bool:
    if isinstance(module, nn.LayerNorm):
        return len(module.normalized_shape) == 1 and module.elementwise_affine
    if isinstance(module, nn.Embedding):
        return module.max_norm is None and not module.scale_grad_by_freq and not module.sparse
    return True


def as_sequence(values: Tensor) -> Tensor:
    """(B, W) or (B, ..., W) -> (B, T, W)."""
    if values.dim() == 3:
        return values
    return values.unsqueeze(1) if values.dim() == 2 else values.reshape(len(values), -1, values.shape[-1])
