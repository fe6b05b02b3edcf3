"""Early fusion: one encoder over the modalities' features side by side.

The plain form of the early fusion of Kamble et al. (audio-visual transformer, section III-F): features are joined
before anything is learned of any modality alone. Streams differ in how many tokens a second they have, so that means
over time are joined rather than tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.cmt import Adapter
from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.client.models.streams import every_stream
from fedaffect.edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class EarlyConfig:
    """Sizes; over three modalities about as many parameters as `cmt` has.

    Parameters
    ----------
    width : int
        D, the width every adapter projects to.
    feedforward : int
        H, hidden width.
    dropout : float
        Probability in [0, 1).
    """

    width: int = 192
    feedforward: int = 832
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.width < 1 or self.feedforward < 1 or not 0 <= self.dropout < 1:
            raise ConfigError("width and feedforward are at least 1, and dropout is a probability in [0, 1)")


class EarlyFusion(nn.Module):
    """s = W_2 gelu(W_1 [mean_t A_1 x_1t; ...; mean_t A_M x_Mt] + b_1) + b_2; zeros stand for what a sample lacks.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    config : EarlyConfig
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: EarlyConfig) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.dropout = config.dropout
        self.adapters = nn.ModuleDict({stream: Adapter(w, config.width) for stream, w in widths.items()})
        self.expand = nn.Linear(len(widths) * config.width, config.feedforward)
        self.head = nn.Linear(config.feedforward, num_classes)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        means = [
            masked_mean(self.adapters[stream](own), held.unsqueeze(-1).to(own.dtype))  # (B, D)
            for stream, own, held in every_stream(self.widths, tokens, present)
        ]
        hidden = functional.gelu(self.expand(torch.cat(means, dim=-1)))  # (B, H)
        scores: Tensor = self.head(functional.dropout(hidden, self.dropout, self.training))
        return scores


def early_fusion(widths: Mapping[str, int], num_classes: int, **options: object) -> EarlyFusion:
    """Build the model from options by name; those of :class:`EarlyConfig`."""
    return EarlyFusion(widths, num_classes, read_options("early", EarlyConfig, options))
