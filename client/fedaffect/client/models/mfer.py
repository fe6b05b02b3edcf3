"""MFER's arms (github.com/NaifMersal/MFER, the paper's section III): a GRU a modality, last states side by side.

h_m is the last layer's state after the last token of a GRU (768 -> 384, two layers, one direction); s = W [h_a; h_v]
+ b. With one modality (``--modalities audio`` or ``video``) it is that arm alone. The paper's encoders are
emotion2vec and a ViT of faces; features of any encoder come in here. Padding is masked, which the authors' code
does not do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedaffect.client.models.options import read_options
from fedaffect.client.models.recurrent import last_state, masked
from fedaffect.client.models.streams import every_stream
from fedaffect.edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MFERConfig:
    """Sizes, by default the paper's.

    Parameters
    ----------
    hidden : int
        H, width of the GRUs' states.
    layers : int
        Of each GRU.
    arms_learn : bool
        Whether the GRUs learn; the paper's last stage trains the head alone, behind arms that it starts from.
    """

    hidden: int = 384
    layers: int = 2
    arms_learn: bool = True

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.layers < 1:
            raise ConfigError("hidden and layers must be at least 1")


class MFER(nn.Module):
    """A GRU for each modality, and a linear layer over their last states.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    config : MFERConfig
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: MFERConfig) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.arms = nn.ModuleDict(
            {stream: nn.GRU(w, config.hidden, config.layers, batch_first=True) for stream, w in widths.items()}
        )
        self.head = nn.Linear(len(widths) * config.hidden, num_classes)
        self.arms_learn = config.arms_learn

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        states = [
            last_state(self.arms[stream](masked(own, held))[0], held)  # (B, H)
            for stream, own, held in every_stream(self.widths, tokens, present)
        ]
        joined = torch.cat(states, dim=-1)  # (B, M H)
        scores: Tensor = self.head(joined if self.arms_learn else joined.detach())
        return scores


def mfer(widths: Mapping[str, int], num_classes: int, **options: object) -> MFER:
    """Build the model from options by name; those of :class:`MFERConfig`."""
    return MFER(widths, num_classes, read_options("mfer", MFERConfig, options))
