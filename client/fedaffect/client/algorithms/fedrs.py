"""FedRS: restricted softmax for classes that a client has never seen (Li and Zhan 2021, equation 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.client.algorithms.base import LocalAlgorithm, LocalRun

if TYPE_CHECKING:
    from torch import Tensor


class FedRS(LocalAlgorithm):
    """Scores of missing classes are scaled by alpha < 1, so that their rows of the head drift less."""

    def __init__(self, run: LocalRun) -> None:
        import torch

        super().__init__(run)
        alpha = run.options.get("fedrs-alpha", 0.5)
        self.scale = torch.where(run.class_counts > 0, 1.0, alpha)  # (C,)

    def scores(self, scores: Tensor) -> Tensor:
        """(B, C) -> (B, C)."""
        return scores * self.scale.to(scores.device)
