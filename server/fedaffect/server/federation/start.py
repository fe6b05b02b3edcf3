"""What a run's first round begins from: fresh weights, or what is known already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from fedaffect.client.task import ClientTask


class Start(Protocol):
    """Gives the parameters of round 0."""

    def weights(self, task: ClientTask, seed: int) -> Tensor:
        """Parameters that fit a task's model, shape (P,).

        Raises
        ------
        ConfigError
            If what there is does not fit.
        """

    def about(self) -> Mapping[str, Any]:
        """What the summary says of them, under ``start``; nothing of fresh ones."""


class FreshStart:
    """Parameters as the seed draws them."""

    def weights(self, task: ClientTask, seed: int) -> Tensor:
        """Drawn, shape (P,)."""
        return task.initial_weights(seed)

    def about(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}
