"""A trunk that stays as it was: what a run learns lies in the adapters alone.

An adapter belongs to one modality. Where the trunk behind all of them stays, a run that learned from voices changes
nothing of how words and faces are answered, and voices of others lose less (low-dimensional updates; Houlsby et al.
2019, "Parameter-Efficient Transfer Learning").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.steps import RoundResult, RoundStep


@dataclass(slots=True)
class FrozenTrunk:
    """A step of which the adapters' change alone is taken.

    Parameters
    ----------
    step : RoundStep
    learned : Tensor of bool, shape (P,)
        True for the adapters' parameters; see `adapters_of`.
    """

    step: RoundStep
    learned: Tensor

    def run(self, number: int, progress: Progress) -> RoundResult:
        """One round."""
        began = progress.weights
        result = self.step.run(number, progress)
        result.weights = torch.where(self.learned, result.weights, began)
        return result

    def save(self) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Mapping[str, Any]]]:
        """Nothing of its own."""
        return self.step.save()

    def restore(self, arrays: Mapping[str, NDArray[Any]], shape: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the step its memory back."""
        self.step.restore(arrays, shape)

    @property
    def rounds_in_use(self) -> set[int]:
        """Those of the step."""
        return self.step.rounds_in_use


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
