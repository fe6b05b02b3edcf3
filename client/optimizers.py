"""Optimisers that outlive a client: made once, restarted for each."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from client.train_config import TrainConfig


class ResidentOptimizer:
    """One fused torch optimiser over all parameters of a resident model.

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
        self._optimizer: torch.optim.Optimizer
        if config.optimizer == "adamw":
            self._optimizer = torch.optim.AdamW(parameters, config.lr, weight_decay=config.weight_decay, fused=True)
        else:
            self._optimizer = torch.optim.SGD(
                parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
            )

    def serves(self, config: TrainConfig) -> bool:
        """Whether this optimiser fits those settings; takes over their learning rate if so."""
        if self._kind != (config.optimizer, config.momentum, config.weight_decay):
            return False
        self._lr = config.lr
        return True

    def restart(self, kept: Mapping[str, Tensor]) -> None:
        """Forget the client before, or go on from what :meth:`state` gave."""
        self._optimizer.state.clear()
        self._optimizer.zero_grad(set_to_none=True)
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr
        for place, parameter in enumerate(self._parameters):
            prefix = f"optimizer.{place}."
            values = {k.removeprefix(prefix): v.clone() for k, v in kept.items() if k.startswith(prefix)}
            if values:
                self._optimizer.state[parameter] = values

    def step(self, gradient_clip: float) -> None:
        """Clip if asked, step, and forget the gradients."""
        if gradient_clip:
            nn.utils.clip_grad_norm_(self._parameters, gradient_clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """The optimiser's tensors, flat, for :meth:`restart`."""
        return {
            f"optimizer.{place}.{name}": value.clone()
            for place, parameter in enumerate(self._parameters)
            for name, value in self._optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }
