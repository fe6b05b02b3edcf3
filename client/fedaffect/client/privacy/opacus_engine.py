"""DP-SGD's clipped sums through Opacus itself: the reference that the fast ones are equal to, and the way for models
with layers that those do not know.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fedaffect.client.privacy.clip_bounds import FLAT, GHOST, layer_norms
from fedaffect.client.privacy.clipping import Forward, without_dropout
from fedaffect.edge.errors import ConfigError


def validate_model(model: nn.Module) -> None:
    """Have Opacus's validator look at a model.

    Raises
    ------
    ConfigError
        If a layer mixes examples or keeps statistics of them, as batch normalisation does.
    """
    from opacus.validators import ModuleValidator

    was_training = model.training
    errors = ModuleValidator.validate(model.train(), strict=False)
    model.train(was_training)
    if errors:
        reason = str(errors[0]).partition(". ")[0]
        raise ConfigError(f"this model cannot be trained with privacy: {reason}; use a model without such layers")


class OpacusClippedSum:
    """Clipped sums by Opacus's hooks: per-example gradients for flat and per-layer clipping, norms for ghost.

    Parameters
    ----------
    model : Module
        Any that Opacus's validator accepts.
    clipping : {"flat", "per-layer", "ghost"}
    clip_norm : float
        C.
    """

    def __init__(self, model: nn.Module, clipping: str, clip_norm: float) -> None:
        validate_model(model)
        self._model = model
        self._clipping = clipping
        self._clip_norm = clip_norm
        self._parameters = list(model.parameters())
        self._bounds = layer_norms(clipping, clip_norm, len(self._parameters))

    def __call__(self, forward: Forward, out: Tensor) -> Tensor:
        """As :class:`fedaffect.client.privacy.clipping.FastClippedSum`."""
        hooks = self._hooks()
        try:
            with _quiet(), without_dropout(self._model):
                losses = self._ghost(hooks, forward) if self._clipping == GHOST else self._materialised(forward)
            with torch.no_grad():
                pieces = [self._summed(p) for p in self._parameters]
                torch.cat([piece.reshape(-1) for piece in pieces], out=out)
        finally:
            hooks.remove_hooks()
            for parameter in self._parameters:
                parameter.grad = None
                for name in ("grad_sample", "summed_grad", "_norm_sample", "_forward_counter", "_current_grad_sample"):
                    if hasattr(parameter, name):
                        delattr(parameter, name)
        return losses.detach()

    def _hooks(self) -> Any:
        from opacus.grad_sample import GradSampleHooks, GradSampleHooksFastGradientClipping

        if self._clipping == GHOST:
            return GradSampleHooksFastGradientClipping(
                self._model, loss_reduction="sum", max_grad_norm=self._clip_norm, use_ghost_clipping=True
            )
        return GradSampleHooks(self._model, loss_reduction="sum")

    def _materialised(self, forward: Forward) -> Tensor:
        from opacus.optimizers import DPOptimizer, DPPerLayerOptimizer

        losses = forward()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        # Adapters of streams that the batch lacks altogether have no gradient, which Opacus's optimisers refuse.
        used = [place for place, p in enumerate(self._parameters) if getattr(p, "grad_sample", None) is not None]
        plain = torch.optim.SGD([self._parameters[place] for place in used], lr=1.0)
        settings: dict[str, Any] = {"noise_multiplier": 0.0, "expected_batch_size": 1, "loss_reduction": "sum"}
        if self._clipping == FLAT:
            optimizer = DPOptimizer(plain, max_grad_norm=self._clip_norm, **settings)
        else:
            optimizer = DPPerLayerOptimizer(plain, max_grad_norm=[self._bounds[place] for place in used], **settings)
        optimizer.clip_and_accumulate()
        return losses

    def _ghost(self, hooks: Any, forward: Forward) -> Tensor:
        losses = forward()
        losses.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
        for parameter in self._parameters:
            parameter.grad = None
        hooks.trainable_parameters = [p for p in self._parameters if hasattr(p, "_norm_sample")]
        factors = hooks.get_clipping_coef()
        hooks.disable_hooks()
        (factors * losses).sum().backward()
        return losses

    def _summed(self, parameter: nn.Parameter) -> Tensor:
        made: Tensor | None = parameter.grad if self._clipping == GHOST else getattr(parameter, "summed_grad", None)
        return torch.zeros_like(parameter) if made is None else made


@contextmanager
def _quiet() -> Iterator[None]:
    """The first layers of a fusion model get features, which need no gradient; torch finds hooks there remarkable."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing")
        yield
