"""Sums of clipped per-example gradients: what DP-SGD adds noise to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from fedaffect.client.privacy.clip_bounds import LEAST_NORM, layer_norms
from fedaffect.client.privacy.recording import LayerRecord, Recorder

# The forward pass: losses of the batch's examples, shape (B,).
Forward: TypeAlias = Callable[[], Tensor]


class ClippedSum(Protocol):
    """Anything that sums clipped per-example gradients."""

    def __call__(self, forward: Forward, out: Tensor) -> Tensor:
        """Write the sum (P,) into ``out`` and return the losses, shape (B,).

        The forward runs :func:`without_dropout`.
        """


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Let a model draw nothing.

    A mask for a batch has a shape that follows from its longest example: one example less, and every other one has
    other gradients, by more than the clipping norm together.
    """
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes:
        # Layers with parameters draw nothing, and Opacus sees those alone that are in training.
        module.training = next(module.parameters(recurse=False), None) is not None
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class RecordedSum:
    """Sums of per-example gradients from one forward and one backward pass, without a single one of them.

    Parameters
    ----------
    model : Module
        Of layers that the recorder knows.
    recorder : Recorder
        The model's.
    """

    def __init__(self, model: nn.Module, recorder: Recorder) -> None:
        self._recorder = recorder
        self._names = [name for name, _ in model.named_parameters()]
        self._shapes = [parameter.shape for _, parameter in model.named_parameters()]

    def __call__(self, forward: Forward, out: Tensor) -> Tensor:
        """Write the sum of gradients into ``out``.

        Parameters
        ----------
        forward : callable
            Returns the losses of the batch's examples, shape (B,); each may depend on its own example alone.
        out : Tensor, shape (P,)
            Or (K, P), from a recorder of K clients' layers.

        Returns
        -------
        Tensor
            The losses, shape (B,).
        """
        recorder = self._recorder
        with recorder.recording():
            losses = forward()
            losses.sum().backward()  # type: ignore[no-untyped-call]
        recorder.require_complete()
        try:
            with torch.no_grad():
                self._sum(out, len(losses))
        finally:
            recorder.clear()
        return losses.detach()

    def _sum(self, out: Tensor, examples: int) -> None:
        places = self._places(out)
        used = {layer: record for layer, record in self._recorder.records.items() if record.calls}
        factors = self._factors(used, examples, out.device)
        for name in self._names:
            if name not in factors:
                places[name].zero_()
        for layer, record in used.items():
            own = {name: name.rpartition(".")[2] for name in factors if name.rpartition(".")[0] == layer}
            record.add_weighted(
                {local: factors[name] for name, local in own.items()},
                {local: places[name] for name, local in own.items()},
            )

    def _factors(self, used: Mapping[str, LayerRecord], examples: int, device: torch.device) -> Mapping[str, Tensor]:
        """How much of each example's gradient stays, shape (B,), by parameter: all of it."""
        whole = torch.ones(examples, device=device)
        return {f"{layer}.{n}".lstrip("."): whole for layer, r in used.items() for n, _ in r.module.named_parameters()}

    def _places(self, out: Tensor) -> dict[str, Tensor]:
        views, start = {}, 0
        for name, shape in zip(self._names, self._shapes, strict=True):
            views[name] = out[..., start : start + shape.numel()].view(*out.shape[:-1], *shape)
            start += shape.numel()
        return views


class FastClippedSum(RecordedSum):
    """Clipped sums, equal to Opacus's within rounding for each clipping; flat and ghost are one computation here.

    Parameters
    ----------
    model : Module
        Of layers that :class:`Recorder` knows.
    clipping : {"flat", "per-layer", "ghost"}
    clip_norm : float
        C.
    recorder : Recorder, optional
        One that this model alone has by default.
    """

    def __init__(self, model: nn.Module, clipping: str, clip_norm: float, recorder: Recorder | None = None) -> None:
        super().__init__(model, recorder or Recorder(model))
        self._model = model
        self._bounds = layer_norms(clipping, clip_norm, len(self._names))

    def __call__(self, forward: Forward, out: Tensor) -> Tensor:
        """As :meth:`RecordedSum.__call__`, with clipped gradients."""
        with without_dropout(self._model):
            return super().__call__(forward, out)

    def _factors(self, used: Mapping[str, LayerRecord], examples: int, device: torch.device) -> Mapping[str, Tensor]:
        """How much of each example's gradient stays, shape (B,), by parameter."""
        squares = {
            (f"{layer}.{name}" if layer else name): values
            for layer, record in used.items()
            for name, values in record.square_norms().items()
        }
        total = torch.stack(list(squares.values())).sum(dim=0)
        self._drop_bad(total)
        if len(self._bounds) == 1:
            return dict.fromkeys(squares, _factor(total, self._bounds[0]))
        bounds = dict(zip(self._names, self._bounds, strict=True))
        return {name: _factor(values, bounds[name]) for name, values in squares.items()}

    def _drop_bad(self, total: Tensor) -> None:
        """An example whose gradient is no number counts as zero: it must not decide whether the run goes on."""
        fine = torch.isfinite(total)
        if bool(fine.all()):
            return
        for record in self._recorder.records.values():
            calls = [(_only(fine, a), _only(fine, g)) for a, g in record.calls]
            record.clear()
            record.calls = calls


def _factor(squares: Tensor, bound: float) -> Tensor:
    """min(1, C / norm) of each example; 0 where the norm is no number."""
    factor = (bound / (squares.sqrt() + LEAST_NORM)).clamp(max=1.0)
    return torch.where(torch.isfinite(squares), factor, 0.0)


def _only(fine: Tensor, values: Tensor) -> Tensor:
    return torch.where(fine.view(-1, *[1] * (values.dim() - 1)), values, torch.zeros_like(values))
