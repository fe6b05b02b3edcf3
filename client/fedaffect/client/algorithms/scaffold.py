"""SCAFFOLD: control variates against client drift (Karimireddy et al. 2020, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedaffect.client.algorithms.base import LocalAlgorithm, LocalRun
from fedaffect.edge.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor, nn


class Scaffold(LocalAlgorithm):
    """Steps along g - c_i + c; afterwards c_i becomes c_i - c + (x - y) / (K lr), their option II."""

    def __init__(self, run: LocalRun) -> None:
        import torch

        super().__init__(run)
        if run.server_control is None:
            raise TrainingError("a scaffold round came without the server's control variate; use --strategy scaffold")
        self.server_control = run.server_control
        own = run.state.get("control")
        self.control = torch.zeros_like(run.start) if own is None else own
        self.correction = self.server_control - self.control

    def correct(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add c - c_i to each gradient."""
        place = 0
        for parameter in parameters:
            size = parameter.numel()
            correction = self.correction[place : place + size].view_as(parameter)
            # Without a gradient (a modality nobody here has) the step is still along c - c_i, or c_i could not settle.
            parameter.grad = correction.clone() if parameter.grad is None else parameter.grad.add_(correction)
            place += size

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The new c_i to keep, and its change to send."""
        drift = (self.run.start - self.run.current) / (max(1, self.run.steps) * self.run.learning_rate)
        change = drift - self.server_control
        return {"control": self.control + change}, {"control": change}
