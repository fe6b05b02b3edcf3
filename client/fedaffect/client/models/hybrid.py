"""Hybrid fusion after Kamble et al. (audio-visual transformer, section III-F), with cross-attention beside.

The paper joins early and late fusion by logistic regression; here its cross-attention answers too. With each one's
log-probabilities, s = W [log p_early; log p_late; log p_cross] + b, which begins as the geometric mean of the three;
where ratings are learned, they stand behind the log-probabilities, and begin as their mean. All is learned at once: no
device of a federation has data that the three were not learned from.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedaffect.client.models.cmt import CMTConfig, CrossModalTransformer
from fedaffect.client.models.early import EarlyConfig, EarlyFusion
from fedaffect.client.models.late import LateFusion
from fedaffect.client.models.log_shares import log_shares
from fedaffect.client.models.options import read_options


class HybridFusion(nn.Module):
    """Three fusions and the logistic regression that joins them.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C, ratings among them.
    config : CMTConfig
        Of the late and the cross-attention part; the early one has the same width and dropout.
    ratings : int
        How many of the last answers are ratings.
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: CMTConfig, ratings: int = 0) -> None:
        super().__init__()
        self.ratings = ratings
        self.early = EarlyFusion(widths, num_classes, EarlyConfig(config.width, dropout=config.dropout))
        self.late = LateFusion(widths, num_classes, config, ratings)
        self.cross = CrossModalTransformer(widths, num_classes, config)
        self.combine = nn.Linear(3 * num_classes, num_classes)
        with torch.no_grad():
            self.combine.weight.copy_(torch.eye(num_classes).repeat(1, 3) / 3)
            self.combine.bias.zero_()

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        early, cross = self.early(tokens, present), self.cross(tokens, present)
        late = self.late.answers(tokens, present)[0]
        parts = [log_shares(part, self.ratings) for part in (early, late, cross)]
        scores: Tensor = self.combine(torch.cat(parts, dim=-1))
        return scores


def hybrid_fusion(widths: Mapping[str, int], num_classes: int, *, ratings: int = 0, **options: object) -> HybridFusion:
    """Build the model from options by name, those of :class:`CMTConfig`; by default as large as `cmt`, within 10 %."""
    config = read_options("hybrid", CMTConfig, options, width=64, feedforward=448)
    return HybridFusion(widths, num_classes, config, ratings)
