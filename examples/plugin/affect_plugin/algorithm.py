"""A local algorithm: gradients scaled by what the strategy says."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from fedaffect.client import LocalAlgorithm


class SmallSteps(LocalAlgorithm):
    """Multiplies each gradient by the option ``option.share`` that came with the round."""

    def correct(self, parameters: Iterable[nn.Parameter]) -> None:
        """Scale what the backward pass left."""
        share = self.run.options.get("option.share", 1.0)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(share)
