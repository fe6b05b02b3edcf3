"""A trunk that stays as it was: what a run learns lies in the adapters alone.

An adapter belongs to one modality. Where the trunk behind all of them stays, a run that learned from voices changes
nothing of how words and faces are answered, and voices of others lose less (low-dimensional updates; Houlsby et al.
2019, "Parameter-Efficient Transfer Learning").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.steps import AroundStep, RoundResult


@dataclass(slots=True)
class FrozenTrunk(AroundStep):
    """A step of which the adapters' change alone is taken.

    Parameters
    ----------
    step : RoundStep
    learned : Tensor of bool, shape (P,)
        True for the adapters' parameters; see `adapters_of`.
    """

    learned: Tensor

    def run(self, number: int, progress: Progress) -> RoundResult:
        """One round."""
        began = progress.weights
        result = self.step.run(number, progress)
        result.weights = torch.where(self.learned, result.weights, began)
        return result


def adapters_of(layout: ArrayLayout) -> Tensor:
    """Which parameters belong to adapters, bool of shape (P,).

    Raises
    ------
    ConfigError
        If none do: such a model cannot be learned so.
    """
    learned = torch.zeros(layout.size, dtype=torch.bool)
    for group, place in layout.groups:
        learned[place] = group != TRUNK
    if not bool(learned.any()):
        raise ConfigError("the model has no adapters to learn alone; give --learned all")
    return learned
