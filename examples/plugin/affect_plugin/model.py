"""A fusion model: a linear map of each stream's mean token, added."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MeanOfTokens(nn.Module):
    """Scores from means.

    Parameters
    ----------
    widths : mapping of str to int
        W of each stream.
    num_classes : int
        C.
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(width, num_classes) for name, width in widths.items()})

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Tokens (B, T, W) and what of them is there (B, T), by stream, to scores (B, C)."""
        scores = []
        for name, head in self.heads.items():
            there = present[name].unsqueeze(-1).float()  # (B, T, 1)
            mean = (tokens[name] * there).sum(1) / there.sum(1).clamp(min=1.0)  # (B, W)
            scores.append(head(mean) * there.amax(1))  # a stream that is not there says nothing
        return torch.stack(scores).sum(0)


def mean_of_tokens(widths: Mapping[str, int], num_classes: int) -> nn.Module:
    """What the registry calls; options of ``--model-option`` come as keywords."""
    return MeanOfTokens(widths, num_classes)
