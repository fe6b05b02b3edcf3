"""A linear head over features that are already worth something: what little there is to learn costs little privacy."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.streams import every_stream

# What stands beside the features for a bias: small, so that learning rates which suit features do not throw it about.
BIAS_FEATURE = 0.1


class LinearHead(nn.Module):
    """Mean token of each modality, side by side, scaled to norm 1, and a constant, into one matrix that starts at zero.

    Norms of 1 keep example gradients alike, so that clipping takes little; a start at zero lets the first noisy step
    count, of which private training can afford few.

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
        self.head = nn.Linear(sum(widths.values()) + 1, num_classes, bias=False)
        nn.init.zeros_(self.head.weight)

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
        means = []
        for _, own, held in every_stream(self.widths, tokens, present):
            means.append(masked_mean(own, held.unsqueeze(-1).to(own.dtype)))  # (B, W)
        features = nn.functional.normalize(torch.cat(means, dim=-1), dim=-1)  # (B, W)
        scores: Tensor = self.head(nn.functional.pad(features, (0, 1), value=BIAS_FEATURE))
        return scores
