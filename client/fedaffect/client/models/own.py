"""What an encoder that is trained itself has behind it (Zhong, Shu and Zhao, arXiv 2601.14259, section 4.4).

One vector a modality: the first token of words, [CLS]; the mean of the others, a voice's projected to 256, as
transformers' own classifiers of Wav2Vec2 do. Dropout and a linear layer over it give the scores. Of several modalities
the vectors stand side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.client.models.streams import every_stream
from fedaffect.edge.errors import ConfigError

_PROJECTED: Final = 256


@dataclass(frozen=True, slots=True)
class OwnHeadConfig:
    """What can be chosen.

    Parameters
    ----------
    dropout : float
        Before the last layer.
    """

    dropout: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise ConfigError("dropout must be from 0 to below 1")


class OwnHead(nn.Module):
    """Dropout and a linear layer over one vector a modality.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    config : OwnHeadConfig
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: OwnHeadConfig) -> None:
        super().__init__()
        self.widths = dict(widths)
        sizes = {stream: _PROJECTED if stream == "audio" else width for stream, width in widths.items()}
        self.projectors = nn.ModuleDict({s: nn.Linear(w, sizes[s]) for s, w in widths.items() if s == "audio"})
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(sum(sizes.values()), num_classes)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        vectors = []
        for stream, own, held in every_stream(self.widths, tokens, present):
            mask = held.unsqueeze(-1).to(own.dtype)  # (B, T, 1)
            vector = (own * mask)[:, 0] if stream == "text" else masked_mean(own, mask)  # (B, W)
            if stream in self.projectors:
                # The mean of projections is the projection of the mean.
                vector = self.projectors[stream](vector) * mask.amax(1)
            vectors.append(vector)
        scores: Tensor = self.head(self.dropout(torch.cat(vectors, dim=-1)))
        return scores


def own_head(widths: Mapping[str, int], num_classes: int, **options: object) -> OwnHead:
    """Build the model from options by name; those of :class:`OwnHeadConfig`."""
    return OwnHead(widths, num_classes, read_options("own", OwnHeadConfig, options))
