"""FedProx: a pull towards where the round began (Li et al. 2020, equation 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedaffect.client.algorithms.base import LocalAlgorithm

if TYPE_CHECKING:
    from torch import Tensor, nn


class FedProx(LocalAlgorithm):
    """Adds mu (w - w_start), the gradient of mu/2 |w - w_start|^2, to each gradient."""

    def correct(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add the proximal term's gradient."""
        pull(parameters, self.run.start, self.run.options.get("proximal-mu", 0.0))


def pull(parameters: Iterable[nn.Parameter], towards: Tensor, strength: float) -> None:
    """Add the gradient of strength/2 |w - towards|^2, ``towards`` of shape (P,), where there is a gradient."""
    place = 0
    for parameter in parameters:
        size = parameter.numel()
        if parameter.grad is not None:
            there = towards[place : place + size].view_as(parameter)
            parameter.grad.add_(parameter.detach() - there, alpha=strength)
        place += size
