"""The baseline of FedMultimodal (Feng et al., KDD 2023): conv-RNN encoders, concatenation or attention.

Sizes are those of its public code. Audio passes three 1-D convolutions (kernel 5; 32, 64, 128 filters) and a GRU of
64, every other modality a GRU of 64.
Either the mean states of the modalities stand side by side, or attention with 6 heads joins all states H (64 wide):
A = softmax_t(W_2 tanh(W_1 H^T)), m = flatten(A H). Two linear layers classify: 64 wide, ReLU, C.

Their convolutions pool raw frames, 100 a second, to an eighth; our tokens are a few a second already and are not
pooled. Padding is masked, in means too, where theirs count it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.client.models.recurrent import masked
from fedaffect.client.models.streams import every_stream
from fedaffect.edge.errors import ConfigError

_KERNEL = 5


@dataclass(frozen=True, slots=True)
class FedMultimodalConfig:
    """Sizes, by default those of the authors' code.

    Parameters
    ----------
    attention : bool
        Whether attention joins the modalities, not concatenation.
    hidden : int
        H, width of the GRUs' states.
    filters : int
        Of the first convolution; the next two have twice and four times as many.
    heads : int
        Of the attention.
    attention_width : int
    dropout : float
        Probability in [0, 1).
    """

    attention: bool = True
    hidden: int = 64
    filters: int = 32
    heads: int = 6
    attention_width: int = 512
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.hidden, self.filters, self.heads, self.attention_width) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError("hidden, filters, heads and attention_width are at least 1, and dropout in [0, 1)")


class ConvolutionalEncoder(nn.Module):
    """Three convolutions over time that see no padding."""

    def __init__(self, encoder_width: int, config: FedMultimodalConfig) -> None:
        super().__init__()
        sizes = (encoder_width, config.filters, 2 * config.filters, 4 * config.filters)
        self.layers = nn.ModuleList(
            nn.Conv1d(before, after, _KERNEL, padding=_KERNEL // 2) for before, after in pairwise(sizes)
        )
        self.dropout = config.dropout

    def forward(self, tokens: Tensor, held: Tensor) -> Tensor:
        """(B, T, W) and (B, T) to (B, T, 4 filters)."""
        tokens = masked(tokens, held)
        for layer in self.layers:
            filtered = functional.relu(layer(tokens.transpose(1, 2))).transpose(1, 2)
            tokens = masked(functional.dropout(filtered, self.dropout, self.training), held)
        return tokens


class FedMultimodal(nn.Module):
    """Conv-RNN encoders, and concatenation or attention behind them.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    config : FedMultimodalConfig
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: FedMultimodalConfig) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.config = config
        self.convolutions = nn.ModuleDict(
            {s: ConvolutionalEncoder(w, config) for s, w in widths.items() if s == "audio"}
        )
        read = {s: 4 * config.filters if s == "audio" else w for s, w in widths.items()}
        self.recurrent = nn.ModuleDict({s: nn.GRU(w, config.hidden, batch_first=True) for s, w in read.items()})
        joined = len(widths)
        if config.attention:
            joined = config.heads
            self.attend = nn.Linear(config.hidden, config.attention_width)
            self.score = nn.Linear(config.attention_width, config.heads)
        self.expand = nn.Linear(joined * config.hidden, 64)
        self.head = nn.Linear(64, num_classes)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        states, masks = [], []
        for stream, own, held in every_stream(self.widths, tokens, present):
            read = self.convolutions[stream](own, held) if stream in self.convolutions else masked(own, held)
            states.append(self.recurrent[stream](read)[0])  # (B, T_m, H)
            masks.append(held)
        joined = self._attended(states, masks) if self.config.attention else _means(states, masks)
        hidden = functional.relu(self.expand(joined))
        scores: Tensor = self.head(functional.dropout(hidden, self.config.dropout, self.training))
        return scores

    def _attended(self, states: list[Tensor], masks: list[Tensor]) -> Tensor:
        """All states weighed by each head, (B, heads H); zeros where a sample has nothing."""
        every, held = torch.cat(states, dim=1), torch.cat(masks, dim=1).unsqueeze(-1)  # (B, T, H), (B, T, 1)
        weights = self.score(torch.tanh(self.attend(every)))  # (B, T, heads)
        weights = torch.where(held | ~held.any(dim=1, keepdim=True), weights, -torch.inf).softmax(1)
        mixed = (weights * held).transpose(1, 2) @ every  # (B, heads, H)
        return mixed.flatten(1)


def _means(states: list[Tensor], masks: list[Tensor]) -> Tensor:
    """Mean states side by side, (B, M H)."""
    pairs = zip(states, masks, strict=True)
    return torch.cat([masked_mean(own, held.unsqueeze(-1).to(own.dtype)) for own, held in pairs], dim=-1)


def fedmultimodal(widths: Mapping[str, int], num_classes: int, **options: object) -> FedMultimodal:
    """Build the model from options by name; those of :class:`FedMultimodalConfig`."""
    return FedMultimodal(widths, num_classes, read_options("fedmultimodal", FedMultimodalConfig, options))
