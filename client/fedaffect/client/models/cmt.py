"""The cross-modal transformer of Zhong, Shu and Zhao (arXiv 2601.14259), equations 9 to 12.

Over sequences rather than one vector a modality; with masks for padding and for what a sample lacks.
Only Linear, LayerNorm and Embedding hold parameters: per-example gradients need no more, and nothing here
keeps running statistics, which clients could not share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.experts import Experts, product
from fedaffect.client.models.exporting import in_export
from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CMTConfig:
    """Size of the trunk.

    Parameters
    ----------
    width : int
        D, the width every adapter projects to.
    heads : int
        Attention heads; must divide ``width``.
    layers : int
        Transformer encoder layers behind the cross-modal attention (equation 11).
    feedforward : int
        Hidden width of each encoder layer.
    dropout : float
        Probability in [0, 1), on what each block adds.
    token_dropout : float
        Probability in [0, 1), on the adapted tokens.
    """

    width: int = 192
    heads: int = 4
    layers: int = 1
    feedforward: int = 512
    dropout: float = 0.2
    token_dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise ConfigError(
                f"{self.heads} heads cannot share a width of {self.width}; "
                f"choose one of {[n for n in (1, 2, 4, 8, 16) if self.width % n == 0]}"
            )
        if not (0 <= self.dropout < 1 and 0 <= self.token_dropout < 1):
            raise ConfigError("dropout and token_dropout are probabilities in [0, 1)")
        if self.layers < 0 or self.feedforward < 1:
            raise ConfigError("layers must be at least 0 and feedforward at least 1")


class CrossModalAttention(nn.Module):
    """Every token attends to every token of every modality present (equations 9 and 10)."""

    def __init__(self, config: CMTConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)

    def forward(self, tokens: Tensor, mask: Tensor | None, shares: list[Tensor] | None = None) -> Tensor:
        """Mix tokens across modalities.

        Parameters
        ----------
        tokens : Tensor, shape (B, T, D)
        mask : Tensor of bool, shape (B, 1, 1, T), optional
            False for tokens that nobody may look at; None where all are present.
        shares : list of Tensor, optional
            Takes softmax(Q K^T / sqrt(d_k)), shape (B, heads, T, T).

        Returns
        -------
        Tensor, shape (B, T, D)
        """
        B, T, D = tokens.shape
        # (B, T, 3D) -> three of (B, heads, T, D / heads)
        q, k, v = self.query_key_value(tokens).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        if shares is None:
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(D // self.heads)  # (B, heads, T, T)
            shares.append((scores if mask is None else torch.where(mask, scores, -torch.inf)).softmax(-1))
            mixed = shares[-1] @ v
        projected: Tensor = self.output(mixed.transpose(1, 2).reshape(B, T, D))
        return projected


class EncoderLayer(nn.Module):
    """Pre-norm transformer encoder layer: attention, then two linear layers with GELU between."""

    def __init__(self, config: CMTConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = CrossModalAttention(config)
        self.feedforward_norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, config.feedforward)
        self.contract = nn.Linear(config.feedforward, config.width)
        self.dropout = config.dropout

    def forward(self, tokens: Tensor, mask: Tensor | None, shares: list[Tensor] | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        tokens = tokens + self._drop(self.attention(self.attention_norm(tokens), mask, shares))
        hidden = functional.gelu(self.expand(self.feedforward_norm(tokens)))
        return tokens + self._drop(self.contract(hidden))

    def _drop(self, values: Tensor) -> Tensor:
        return functional.dropout(values, self.dropout, self.training)


class Adapter(nn.Module):
    """LayerNorm and Linear from one encoder's width to the fusion width."""

    def __init__(self, encoder_width: int, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(encoder_width)
        self.project = nn.Linear(encoder_width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, D)."""
        projected: Tensor = self.project(self.norm(tokens))
        return projected


class CrossModalTransformer(nn.Module):
    """Adapters, cross-modal attention, transformer encoder, softmax head.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens; the streams' order is the order of their tokens.
    num_classes : int
        C.
    config : CMTConfig
    experts : Experts, optional
        With them the trunk judges each modality of a sample alone, and the answer is the product, in training too.
        Without them modalities meet in the trunk.

    Attributes
    ----------
    attends_by_token : bool
        What a row of :meth:`with_attention` stands for: a token, or a whole stream.
    """

    attends_by_token: ClassVar[bool] = True

    def __init__(
        self, widths: Mapping[str, int], num_classes: int, config: CMTConfig, experts: Experts | None = None
    ) -> None:
        super().__init__()
        if experts is not None:
            experts.check(num_classes)
        self.experts = experts
        self.streams = tuple(widths)
        self.config = config
        self.adapters = nn.ModuleDict({stream: Adapter(w, config.width) for stream, w in widths.items()})
        self.modality_embedding = nn.Embedding(len(widths), config.width)
        self.cross_norm = nn.LayerNorm(config.width)
        self.cross_attention = CrossModalAttention(config)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.head_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, num_classes)
        nn.init.normal_(self.modality_embedding.weight, std=0.02)
        self._clock: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores before the softmax of equation 12.

        Parameters
        ----------
        tokens : mapping of str to Tensor, shape (B, T_m, W_m)
            Any subset of the streams; those left out count as missing.
        present : mapping of str to Tensor of bool, shape (B, T_m)
            False for padding and for modalities a sample lacks. A sample with no token at all is scored
            from the head's bias alone.

        Returns
        -------
        Tensor, shape (B, C)
        """
        return self._scores(tokens, present, None)

    def with_attention(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Class scores, and who attends to whom.

        Parameters
        ----------
        tokens : mapping of str to Tensor, shape (B, T_m, W_m)
            Any subset of the streams.
        present : mapping of str to Tensor of bool, shape (B, T_m)

        Returns
        -------
        scores : Tensor, shape (B, C)
        shares : Tensor, shape (B, L, heads, T, T)
            Of equation 10 first, then of each encoder layer; a row a token that looks, a column one that is looked
            at, the streams' tokens one after the other. Rows sum to 1; what is masked gets 0, and where experts answer,
            so does what is of another stream.
        """
        shares: list[Tensor] = []
        scores = self._scores(tokens, present, shares)
        return scores, torch.stack(shares, dim=1)

    def _scores(
        self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor], shares: list[Tensor] | None
    ) -> Tensor:
        adapted, masks = [], []
        given = [place for place, stream in enumerate(self.streams) if stream in tokens]
        marks = self._marks(given, tokens)
        for order, place in enumerate(given):
            stream = self.streams[place]
            # (B, T_m, W_m) -> (B, T_m, D), marked with its modality and its time
            marked = self.adapters[stream](tokens[stream]) + marks[:, order : order + 1]
            adapted.append(marked + self._time(marked))
            masks.append(present[stream])
        fused = torch.cat(adapted, dim=1)  # (B, T, D)
        held = torch.cat(masks, dim=1)  # (B, T)
        if self.training and self.config.token_dropout:
            fused = functional.dropout(fused, self.config.token_dropout)
        # Experts judge each stream alone: its tokens see no other's, and each is pooled by itself.
        experts = None if len(given) < 2 else self.experts
        of = None if experts is None else _stream_of(masks)
        mask = attention_mask(held) if of is None else _apart(masks, of)
        fused = fused + functional.dropout(
            self.cross_attention(self.cross_norm(fused), mask, shares), self.config.dropout, self.training
        )
        for layer in self.encoder:
            fused = layer(fused, mask, shares)
        if experts is None or of is None:
            weight = held.unsqueeze(-1).to(fused.dtype)  # (B, T, 1)
            pooled = masked_mean(fused, weight)  # (B, D)
            scores: Tensor = self.head(self.head_norm(pooled))
            return scores
        alone = self.head(self.head_norm(_pooled_apart(fused, held, of, len(given))))  # (B, M, C)
        there = torch.stack([mask.any(dim=1) for mask in masks], dim=1)  # (B, M)
        return product(alone, there, experts, [self.streams[place] for place in given])

    def _marks(self, given: list[int], tokens: Mapping[str, Tensor]) -> Tensor:
        """Modality embeddings of these streams, once an example, shape (B, M, D).

        One call of the layer for all: per-example gradients see what passes through layers, and Opacus's ghost norms
        take no layer that is called twice.
        """
        if not given:
            raise ConfigError(f"a sample needs at least one of {', '.join(self.streams)}")
        first = tokens[self.streams[given[0]]]
        marks: Tensor = self.modality_embedding(torch.tensor(given, device=first.device).repeat(first.shape[0], 1))
        return marks

    def _time(self, tokens: Tensor) -> Tensor:
        # Tokens of every encoder come at one fixed rate, so that a place is a time. Not a buffer: it follows
        # from the shape, and the ONNX export traces it.
        T, D = tokens.shape[1], tokens.shape[2]
        if in_export():
            return sinusoids(tokens.shape[1], D, tokens.device)
        key = (T, tokens.device)
        if key not in self._clock:
            self._clock[key] = sinusoids(T, D, tokens.device)
        return self._clock[key]


def _apart(masks: Sequence[Tensor], of: Tensor) -> Tensor:
    """Which tokens a query may look at, shape (B, 1, T, T): those of its own stream, from masks (B, T_m) of each."""
    # As in `attention_mask`: a stream without a token may see its zeros.
    visible = torch.cat([held | ~held.any(dim=1, keepdim=True) for held in masks], dim=1)  # (B, T)
    same = of[:, :, None] == of[:, None, :]  # (1, T, T)
    return (visible[:, None, :] & same)[:, None]


def _pooled_apart(tokens: Tensor, held: Tensor, of: Tensor, streams: int) -> Tensor:
    """Mean of each stream's own tokens, (B, T, D) to (B, M, D); 0 where a sample has none."""
    belongs = torch.stack([of == place for place in range(streams)], dim=1)  # (1, M, T)
    weight = (belongs & held[:, None, :]).to(tokens.dtype)  # (B, M, T)
    return weight @ tokens / weight.sum(dim=2, keepdim=True).clamp(min=1.0)


def _stream_of(masks: Sequence[Tensor]) -> Tensor:
    """Which stream each token is of, shape (1, T); from the masks' own sizes, which a graph does not freeze."""
    return torch.cat([torch.zeros_like(mask[:1], dtype=torch.long) + place for place, mask in enumerate(masks)], dim=1)


def attention_mask(held: Tensor) -> Tensor | None:
    """Which tokens a query may look at, shape (B, 1, 1, T); None where all of them.

    Parameters
    ----------
    held : Tensor of bool, shape (B, T)
    """
    # A sample without a single token would make every score of its softmax -inf; it may see its zeros.
    visible = held | ~held.any(dim=1, keepdim=True)
    return None if not in_export() and bool(visible.all()) else visible[:, None, None, :]


def sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of places 0..length-1 at geometric wavelengths, a tenth in size, shape (T, D)."""
    places = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    half = (width + 1) // 2
    rates = torch.exp(torch.arange(half, device=device, dtype=torch.float32) * (-math.log(1000.0) / half))
    angles = places * rates  # (T, D / 2)
    return 0.1 * torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]


def cross_modal_transformer(
    widths: Mapping[str, int], num_classes: int, experts: Mapping[str, Any] | None = None, **options: object
) -> CrossModalTransformer:
    """Build the transformer from options by name; those of :class:`CMTConfig`, and ``experts``, of `Experts`."""
    config = read_options("cmt", CMTConfig, options)
    multiplied = None if experts is None else read_options("cmt, experts", Experts, experts)
    return CrossModalTransformer(widths, num_classes, config, multiplied)
