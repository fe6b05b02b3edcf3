"""The hooks that the local training loop calls, and plain local training, which needs none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(slots=True)
class LocalRun:
    """What an algorithm may know of one client's training.

    Parameters
    ----------
    start : Tensor, shape (P,)
        Parameters as they came from the server.
    current : Tensor, shape (P,)
        Parameters being trained; the module's own memory.
    class_counts : Tensor, shape (C,)
        The client's training examples by class.
    learning_rate : float
    options : mapping of str to float
        The algorithm's own settings, as sent by the server.
    state : mapping of str to Tensor
        What this client kept from its last round; empty at first.
    server_control : Tensor, shape (P,), optional
        SCAFFOLD's c.
    steps : int
        Optimiser steps taken so far.
    """

    start: Tensor
    current: Tensor
    class_counts: Tensor
    learning_rate: float
    options: Mapping[str, float] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)
    server_control: Tensor | None = None
    steps: int = 0


class LocalAlgorithm:
    """Plain local training; the algorithms override what they change."""

    def __init__(self, run: LocalRun) -> None:
        self.run = run

    def scores(self, scores: Tensor) -> Tensor:
        """Change class scores (B, C) before the loss."""
        return scores

    def correct(self, parameters: Iterable[nn.Parameter]) -> None:
        """Change gradients after the backward pass, before the optimiser's step."""

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What to keep on the device, and what to send beside the parameters."""
        return {}, {}
