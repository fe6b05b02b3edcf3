"""The simplest fusion: mean of each modality's tokens, side by side, into one linear layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.streams import every_stream


class PooledLinear(nn.Module):
    """A baseline for every table: what the features give without any fusion worth the name.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.adapters = nn.ModuleDict({stream: nn.LayerNorm(width) for stream, width in widths.items()})
        self.head = nn.Linear(sum(widths.values()), num_classes)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores.

        Parameters
        ----------
        tokens : mapping of str to Tensor, shape (B, T_m, W_m)
        present : mapping of str to Tensor of bool, shape (B, T_m)

        Returns
        -------
        Tensor, shape (B, C)
        """
        pooled = []
        for stream, own, held in every_stream(self.widths, tokens, present):
            mask = held.unsqueeze(-1).to(own.dtype)  # (B, T, 1)
            mean = masked_mean(own, mask)  # (B, W)
            pooled.append(self.adapters[stream](mean) * mask.amax(1))
        scores: Tensor = self.head(torch.cat(pooled, dim=-1))
        return scores
