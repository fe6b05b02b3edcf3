"""The audio-visual transformer of Kamble et al. (sections III-C to III-F), over any streams.

Each stream has a linear projection, sinusoids of time and an encoder of its own, which gives H_m. Then, with every
other stream's tokens H_n side by side,

- H_m' = LN(H_m + softmax(Q_m K_n^T / sqrt(d_k)) V_n), several heads, for every m (audio reads video, video reads audio)
- one encoder layer over [H_1'; ...; H_M'], the mean of each stream's part, and two linear layers with ReLU between.

A model of one stream reads itself. ``fusion`` chooses among the paper's strategies; that above is ``cross``:

- ``early``: features side by side, each stream's taken at the same share of its length, through one encoder;
- ``late``: every stream's encoder with a head of its own, p_m, each trained alone; softmax(W [log p_1; ...] + b) joins;
- ``hybrid``: the same joins early, late and cross.

The logistic regression sees the parts' answers without changing them, as the paper fits it afterwards; unlike there it
is learned beside them, from the same rows: no device of a federation has others. The paper names no sizes but that of
its training; these are those of the nearest public code (AVT-CA's width and heads).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.cmt import CMTConfig, EncoderLayer, attention_mask, sinusoids
from fedaffect.client.models.exporting import in_export
from fedaffect.client.models.log_shares import log_shares
from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.client.models.streams import every_stream
from fedaffect.edge.errors import ConfigError, unknown_name

FUSIONS = ("cross", "early", "late", "hybrid")
# Of these, those in which what is joined also learns by itself.
ALONE = ("late", "hybrid")
Streams = list[tuple[str, Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class AVTConfig:
    """Sizes and strategy.

    Parameters
    ----------
    fusion : {"cross", "early", "late", "hybrid"}
    width, heads, layers, feedforward : int
        Of every encoder.
    dropout : float
        Probability in [0, 1).
    """

    fusion: str = "cross"
    width: int = 128
    heads: int = 8
    layers: int = 2
    feedforward: int = 256
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.fusion not in FUSIONS:
            raise unknown_name("fusion of model avt", self.fusion, FUSIONS)
        if self.layers < 1:
            raise ConfigError("layers must be at least 1")
        self.trunk()

    def trunk(self) -> CMTConfig:
        """The sizes of an encoder's layers, checked."""
        return CMTConfig(self.width, self.heads, self.layers, self.feedforward, self.dropout, token_dropout=0.0)


class StreamEncoder(nn.Module):
    """Linear projection, sinusoids of time, encoder layers."""

    def __init__(self, encoder_width: int, config: CMTConfig) -> None:
        super().__init__()
        self.project = nn.Linear(encoder_width, config.width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    def forward(self, tokens: Tensor, held: Tensor) -> Tensor:
        """(B, T, W) and (B, T) to (B, T, d)."""
        hidden: Tensor = self.project(tokens)
        hidden = hidden + sinusoids(hidden.shape[1], hidden.shape[2], hidden.device)
        mask = attention_mask(held)
        for layer in self.layers:
            hidden = layer(hidden, mask)
        return hidden


class CrossAttention(nn.Module):
    """What one stream's tokens find in another's."""

    def __init__(self, config: CMTConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.query = nn.Linear(config.width, config.width)
        self.key_value = nn.Linear(config.width, 2 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, own: Tensor, others: Tensor, held: Tensor) -> Tensor:
        """(B, T, d), (B, S, d) and (B, S) to (B, T, d)."""
        B, T, D = own.shape
        q = self.query(own).view(B, T, self.heads, D // self.heads).transpose(1, 2)
        # (B, S, 2d) -> two of (B, heads, S, d / heads)
        k, v = self.key_value(others).view(B, others.shape[1], 2, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=attention_mask(held))
        found = self.output(mixed.transpose(1, 2).reshape(B, T, D)) * held.any(dim=1)[:, None, None].to(own.dtype)
        normed: Tensor = self.norm(own + functional.dropout(found, self.dropout, self.training))
        return normed


class CrossFusion(nn.Module):
    """An encoder a stream, cross-attention from each to the others, one encoder layer over all, a dense head."""

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: CMTConfig) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({stream: StreamEncoder(w, config) for stream, w in widths.items()})
        self.cross = nn.ModuleDict({stream: CrossAttention(config) for stream in widths})
        self.joint = EncoderLayer(config)
        self.head = _dense_head(len(widths) * config.width, num_classes, config)

    def stream_encoders(self) -> Mapping[str, nn.Module]:
        """By stream."""
        return dict(self.encoders.items())

    def forward(self, streams: Streams) -> Tensor:
        """Scores (B, C)."""
        hidden = {stream: self.encoders[stream](own, held) for stream, own, held in streams}
        masks = {stream: held for stream, _, held in streams}
        parts = []
        for stream, own in hidden.items():
            others = [other for other in hidden if other != stream] or [stream]
            read = torch.cat([hidden[other] for other in others], dim=1)
            parts.append(self.cross[stream](own, read, torch.cat([masks[other] for other in others], dim=1)))
        joined = self.joint(torch.cat(parts, dim=1), attention_mask(torch.cat(list(masks.values()), dim=1)))
        means, start = [], 0
        for part, held in zip(parts, masks.values(), strict=True):
            means.append(_mean(joined[:, start : start + part.shape[1]], held))  # (B, d)
            start = start + part.shape[1]
        scores: Tensor = self.head(torch.cat(means, dim=-1))
        return scores


class AlignedFusion(nn.Module):
    """Early: features of all streams side by side, step by step, through one encoder."""

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: CMTConfig) -> None:
        super().__init__()
        self.encoder = StreamEncoder(sum(widths.values()), config)
        self.head = _dense_head(config.width, num_classes, config)

    def forward(self, streams: Streams) -> Tensor:
        """Scores (B, C)."""
        aligned, held = side_by_side(streams)
        scores: Tensor = self.head(_mean(self.encoder(aligned, held), held))
        return scores


class StreamModel(nn.Module):
    """One stream's own answer."""

    def __init__(self, encoder_width: int, num_classes: int, config: CMTConfig) -> None:
        super().__init__()
        self.encoder = StreamEncoder(encoder_width, config)
        self.head = _dense_head(config.width, num_classes, config)

    def forward(self, tokens: Tensor, held: Tensor) -> Tensor:
        """(B, T, W) and (B, T) to scores (B, C)."""
        scores: Tensor = self.head(_mean(self.encoder(tokens, held), held))
        return scores


class Combiner(nn.Module):
    """Logistic regression over log-probabilities, and ratings beside; it begins as their mean, and changes no part."""

    def __init__(self, parts: int, num_classes: int) -> None:
        super().__init__()
        self.regression = nn.Linear(parts * num_classes, num_classes)
        with torch.no_grad():
            self.regression.weight.copy_(torch.eye(num_classes).repeat(1, parts) / parts)
            self.regression.bias.zero_()

    def forward(self, logs: Tensor) -> Tensor:
        """(B, parts, C) to (B, C)."""
        scores: Tensor = self.regression(logs.detach().flatten(1))
        return scores


class LateFusion(nn.Module):
    """Streams apart, and what joins them."""

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: CMTConfig, ratings: int) -> None:
        super().__init__()
        self.ratings = ratings
        self.models = nn.ModuleDict({stream: StreamModel(w, num_classes, config) for stream, w in widths.items()})
        self.combine = Combiner(len(widths), num_classes)

    def stream_encoders(self) -> Mapping[str, nn.Module]:
        """By stream."""
        return {stream: cast(StreamModel, model).encoder for stream, model in self.models.items()}

    def forward(self, streams: Streams) -> Tensor:
        """The joint answer and each stream's, (1 + M, B, C); the joint one stands for what a sample lacks."""
        own_logs = [log_shares(self.models[stream](own, held), self.ratings) for stream, own, held in streams]
        logs = torch.stack(own_logs, dim=1)  # (B, M, C)
        here = torch.stack([held.any(dim=1) for _, _, held in streams], dim=1).unsqueeze(-1)  # (B, M, 1)
        # Where there is nothing at all, what each model knows without an input.
        here = here | ~here.any(dim=1, keepdim=True)
        mean = masked_mean(logs, here[:, :, :1].to(logs.dtype)).unsqueeze(1)  # (B, 1, C)
        joint = self.combine(torch.where(here, logs, mean)).unsqueeze(1)
        return torch.cat([joint, torch.where(here, logs, joint)], dim=1).transpose(0, 1)


class AudioVisualTransformer(nn.Module):
    """One of the paper's strategies, or their logistic regression.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C, ratings among them.
    config : AVTConfig
    ratings : int
        How many of the last answers are ratings.
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: AVTConfig, ratings: int = 0) -> None:
        super().__init__()
        self.ratings = ratings
        self.widths = dict(widths)
        trunk, hybrid = config.trunk(), config.fusion == "hybrid"
        self.parts = nn.ModuleDict()
        if hybrid or config.fusion == "early":
            self.parts["early"] = AlignedFusion(widths, num_classes, trunk)
        if hybrid or config.fusion == "late":
            self.parts["late"] = LateFusion(widths, num_classes, trunk, ratings)
        if hybrid or config.fusion == "cross":
            self.parts["cross"] = CrossFusion(widths, num_classes, trunk)
        self.combine = Combiner(len(self.parts), num_classes) if hybrid else None

    def stream_encodings(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
        """What each stream's encoders make of it before any stream reads another, (B, T_m, d); none of ``early``."""
        streams = list(every_stream(self.widths, tokens, present))
        encoders = [
            part.stream_encoders() for part in self.parts.values() if isinstance(part, CrossFusion | LateFusion)
        ]
        return [(stream, each[stream](own, held)) for each in encoders for stream, own, held in streams]

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C).

        In training what is joined answers too, (A, B, C).
        """
        streams = list(every_stream(self.widths, tokens, present))
        answers = [part(streams) for part in self.parts.values()]
        answers = [each.unsqueeze(0) if each.dim() == 2 else each for each in answers]  # (a, B, C)
        if self.combine is not None:
            firsts = torch.stack([log_shares(each[0], self.ratings) for each in answers], dim=1)
            answers.insert(0, self.combine(firsts).unsqueeze(0))
        every = torch.cat(answers)
        return every if self.training and len(every) > 1 else every[0]


def side_by_side(streams: Streams) -> tuple[Tensor, Tensor]:
    """Tokens of all streams joined step by step: of each the one at the same share of its length.

    Parameters
    ----------
    streams : list of name, Tensor of shape (B, T_m, W_m) and Tensor of bool of shape (B, T_m)
        What a sample has of a stream begins at its first token.

    Returns
    -------
    Tensor of shape (B, T, W), Tensor of bool of shape (B, T)
        T is the longest, or more; zeros where a sample lacks a stream.
    """
    lengths = torch.stack([held.sum(dim=1) for _, _, held in streams], dim=1)  # (B, M)
    longest = lengths.amax(dim=1, keepdim=True)  # (B, 1)
    masks = [held for _, _, held in streams]
    # Which stream is the longest would be fixed in a traced graph; what is too much is masked.
    room = torch.cat(masks, dim=1) if in_export() else max(masks, key=lambda held: held.shape[1])
    steps = torch.cumsum(torch.ones_like(room[:1], dtype=torch.int64), dim=1) - 1  # (1, T)
    joined = []
    for place, (_, own, held) in enumerate(streams):
        count = lengths[:, place : place + 1]
        at = torch.div(steps * count, longest.clamp(min=1), rounding_mode="floor")  # (B, T)
        at = torch.minimum(at, (count - 1).clamp(min=0))
        taken = own.gather(1, at.unsqueeze(-1).expand(-1, -1, own.shape[2]))
        joined.append(taken * held.any(dim=1)[:, None, None].to(own.dtype))
    return torch.cat(joined, dim=-1), steps < longest


def _dense_head(width: int, num_classes: int, config: CMTConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, config.width), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(config.width, num_classes)
    )


def _mean(hidden: Tensor, held: Tensor) -> Tensor:
    return masked_mean(hidden, held.unsqueeze(-1).to(hidden.dtype))


def audio_visual_transformer(
    widths: Mapping[str, int], num_classes: int, *, ratings: int = 0, **options: object
) -> AudioVisualTransformer:
    """Build the model from options by name; those of :class:`AVTConfig`."""
    return AudioVisualTransformer(widths, num_classes, read_options("avt", AVTConfig, options), ratings)
