"""Optimisers that outlive a client: made once, restarted for each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedaffect.client.torch_compat import add_each, count_each, step_adamw
from fedaffect.client.train_config import TrainConfig

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


class ResidentOptimizer:
    """SGD or AdamW over all parameters of a resident model, as torch's fused kernels compute them.

    ``torch.optim`` itself would spend a twentieth of a small client's training on bookkeeping at every step, and
    a second of every process's start on importing a compiler.

    Parameters
    ----------
    parameters : list of Parameter
        The model's, in its order.
    config : TrainConfig
        Which optimiser and its settings; the learning rate may change from round to round.
    """

    def __init__(self, parameters: list[nn.Parameter], config: TrainConfig) -> None:
        self._parameters = parameters
        self._kind = (config.optimizer, config.momentum, config.weight_decay)
        self._lr = config.lr
        self._state: dict[int, dict[str, Tensor]] = {}

    def serves(self, config: TrainConfig) -> bool:
        """Whether this optimiser fits those settings; takes over their learning rate if so."""
        if self._kind != (config.optimizer, config.momentum, config.weight_decay):
            return False
        self._lr = config.lr
        return True

    def restart(self, kept: Mapping[str, Tensor]) -> None:
        """Forget the client before, or go on from what :meth:`state` gave."""
        self._state.clear()
        self._forget_gradients()
        for key, value in kept.items():
            kind, place, name = key.split(".", 2) if key.count(".") >= 2 else ("", "", "")
            if kind == "optimizer":
                self._state.setdefault(int(place), {})[name] = value.to(self._parameters[0].device, copy=True)

    @torch.no_grad()
    def step(self, gradient_clip: float) -> None:
        """Clip if asked, step, and forget the gradients."""
        if gradient_clip:
            nn.utils.clip_grad_norm_(self._parameters, gradient_clip)
        # A parameter without a gradient (a modality nobody here has) stays, weight decay and momentum included.
        places = [place for place, parameter in enumerate(self._parameters) if parameter.grad is not None]
        parameters: list[Tensor] = [self._parameters[place] for place in places]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self._kind[0] == "adamw":
            self._adamw(places, parameters, gradients)
        else:
            self._sgd(places, parameters, gradients)
        self._forget_gradients()

    def _sgd(self, places: list[int], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        _, momentum, weight_decay = self._kind
        if weight_decay:
            add_each(gradients, parameters, weight_decay)
        if momentum:
            for place, gradient in zip(places, gradients, strict=True):
                if place not in self._state:
                    self._state[place] = {"momentum": gradient.clone()}
                else:
                    self._state[place]["momentum"].mul_(momentum).add_(gradient)
            gradients = [self._state[place]["momentum"] for place in places]
        add_each(parameters, gradients, -self._lr)

    def _adamw(self, places: list[int], parameters: list[Tensor], gradients: list[Tensor]) -> None:
        for place, parameter in zip(places, parameters, strict=True):
            if place not in self._state:
                self._state[place] = {
                    "step": torch.zeros((), device=parameter.device),
                    "mean": torch.zeros_like(parameter),
                    "square": torch.zeros_like(parameter),
                }
        states = [self._state[place] for place in places]
        count_each([state["step"] for state in states])
        step_adamw(
            parameters,
            gradients,
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [state["step"] for state in states],
            lr=self._lr,
            betas=(_BETA_1, _BETA_2),
            weight_decay=self._kind[2],
            epsilon=_EPSILON,
        )

    def _forget_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """The optimiser's tensors, flat, for :meth:`restart`."""
        return {
            f"optimizer.{place}.{name}": value.clone()
            for place, tensors in self._state.items()
            for name, value in tensors.items()
        }
