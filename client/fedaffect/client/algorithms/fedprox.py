"""FedProx: a pull towards where the round began (Li et al. 2020, equation 2)."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from fedaffect.client.algorithms.base import LocalAlgorithm


class FedProx(LocalAlgorithm):
    """Adds mu (w - w_start), the gradient of mu/2 |w - w_start|^2, to each gradient."""

    def correct(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add the proximal term's gradient."""
        mu = self.run.options.get("proximal-mu", 0.0)
        place = 0
        for parameter in parameters:
            size = parameter.numel()
            if parameter.grad is not None:
                start = self.run.start[place : place + size].view_as(parameter)
                parameter.grad.add_(parameter.detach() - start, alpha=mu)
            place += size
