"""SGD and AdamW over one vector of parameters, as :mod:`fedaffect.client.optimizers` steps them with torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.train_config import TrainConfig

Vector = NDArray[np.float32]

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
# Of the state that a client keeps; not torch's, whose names are of single parameters.
_KEPT: Final = "vector."
# As torch's clip_grad_norm_.
_LEAST_NORM: Final = 1e-6


class VectorOptimizer:
    """One client's optimiser in one round.

    Parameters
    ----------
    config : TrainConfig
    kept : mapping of str to array
        What :meth:`state` gave in an earlier round; empty to begin.
    """

    def __init__(self, config: TrainConfig, kept: Mapping[str, NDArray[np.float32]]) -> None:
        self._config = config
        self._state: dict[str, NDArray[np.float32]] = {
            name.removeprefix(_KEPT): np.array(value) for name, value in kept.items() if name.startswith(_KEPT)
        }

    def step(self, parameters: Vector, gradient: Vector) -> None:
        """Clip if asked, and step; both vectors, shape (P,), are changed in place."""
        config = self._config
        if config.gradient_clip:
            norm = float(np.linalg.norm(gradient))
            gradient *= np.float32(min(1.0, config.gradient_clip / (norm + _LEAST_NORM)))
        if config.optimizer == "adamw":
            self._adamw(parameters, gradient)
        else:
            self._sgd(parameters, gradient)

    def _sgd(self, parameters: Vector, gradient: Vector) -> None:
        config = self._config
        if config.weight_decay:
            gradient += np.float32(config.weight_decay) * parameters
        if config.momentum:
            if (momentum := self._state.get("momentum")) is None:
                momentum = self._state["momentum"] = gradient.copy()
            else:
                momentum *= np.float32(config.momentum)
                momentum += gradient
            gradient = momentum
        parameters -= np.float32(config.lr) * gradient

    def _adamw(self, parameters: Vector, gradient: Vector) -> None:
        config, state = self._config, self._state
        if not state:
            state["step"] = np.zeros(1, np.float32)
            state["mean"], state["square"] = np.zeros_like(parameters), np.zeros_like(parameters)
        state["step"] += 1
        steps = state["step"].item()
        parameters *= np.float32(1 - config.lr * config.weight_decay)
        mean, square = state["mean"], state["square"]
        mean *= np.float32(_BETA_1)
        mean += np.float32(1 - _BETA_1) * gradient
        square *= np.float32(_BETA_2)
        np.square(gradient, out=gradient)
        gradient *= np.float32(1 - _BETA_2)
        square += gradient
        # lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + e)
        divisor = np.sqrt(square, out=gradient)
        divisor *= np.float32(1 / np.sqrt(1 - _BETA_2**steps))
        divisor += np.float32(_EPSILON)
        change = np.divide(mean, divisor, out=divisor)
        change *= np.float32(config.lr / (1 - _BETA_1**steps))
        parameters -= change

    def state(self) -> dict[str, NDArray[np.float32]]:
        """What to keep for the next round."""
        return {_KEPT + name: value for name, value in self._state.items()}
