"""The Late-Fusion Transformer that Zhong, Shu and Zhao (arXiv 2601.14259, section 4.4) compare theirs with.

The paper only names it. Here each modality has a transformer and a softmax head of its own, p_m, and the answer is
p = sum_m w_m p_m over the modalities that a sample has, with w the softmax of one learned number a modality: no
modality ever sees another. The loss is that of p plus the mean of those of the p_m, so that each is trained alone too.
A rating is joined by the same w_m.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.cmt import Adapter, CMTConfig, EncoderLayer, attention_mask, sinusoids
from fedaffect.client.models.log_shares import log_shares
from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.client.models.streams import every_stream


class ModalityTransformer(nn.Module):
    """One modality's answer: adapter, sinusoids of time, encoder layers, masked mean, head."""

    def __init__(self, encoder_width: int, num_classes: int, config: CMTConfig) -> None:
        super().__init__()
        self.token_dropout = config.token_dropout
        self.adapter = Adapter(encoder_width, config.width)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.head_norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, num_classes)

    def encoded(self, tokens: Tensor, held: Tensor) -> Tensor:
        """(B, T, W) and (B, T) to (B, T, D)."""
        adapted: Tensor = self.adapter(tokens)  # (B, T, D)
        adapted = adapted + sinusoids(adapted.shape[1], adapted.shape[2], adapted.device)
        adapted = functional.dropout(adapted, self.token_dropout, self.training)
        mask = attention_mask(held)
        for layer in self.encoder:
            adapted = layer(adapted, mask)
        return adapted

    def forward(self, tokens: Tensor, held: Tensor) -> Tensor:
        """(B, T, W) and (B, T) to scores (B, C)."""
        adapted = self.encoded(tokens, held)
        pooled = masked_mean(adapted, held.unsqueeze(-1).to(adapted.dtype))  # (B, D)
        scores: Tensor = self.head(self.head_norm(pooled))
        return scores


class LateFusion(nn.Module):
    """The weighted mean of what each modality answers.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C, ratings among them.
    config : CMTConfig
        Of each modality's transformer.
    ratings : int
        How many of the last answers are ratings.
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: CMTConfig, ratings: int = 0) -> None:
        super().__init__()
        self.ratings = ratings
        self.widths = dict(widths)
        self.modalities = nn.ModuleDict({s: ModalityTransformer(w, num_classes, config) for s, w in widths.items()})
        # An Embedding, not a bare parameter: per-example gradients see what passes through layers.
        self.weights = nn.Embedding(len(widths), 1)
        nn.init.zeros_(self.weights.weight)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Log p of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C).

        In training every log p_m stands behind it, (1 + M, B, C); where a sample lacks m, log p stands for it, since
        there is nothing that p_m could learn.
        """
        answers = self.answers(tokens, present)
        return answers if self.training else answers[0]

    def stream_encodings(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
        """What each modality's transformer makes of its tokens, (B, T_m, D)."""
        return [
            (stream, cast(ModalityTransformer, self.modalities[stream]).encoded(own, held))
            for stream, own, held in every_stream(self.widths, tokens, present)
        ]

    def answers(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Log p and every log p_m, (1 + M, B, C)."""
        logs, here = [], []
        for stream, own, held in every_stream(self.widths, tokens, present):
            logs.append(log_shares(self.modalities[stream](own, held), self.ratings))
            here.append(held.any(dim=1))
        answers = torch.stack(logs, dim=1)  # (B, M, C)
        held_at_all = torch.stack(here, dim=1).unsqueeze(-1)  # (B, M, 1)
        # A sample with nothing is answered by all heads alike, from what each knows without an input.
        counted = held_at_all | ~held_at_all.any(dim=1, keepdim=True)
        places = torch.tensor(list(range(len(logs))), device=answers.device)
        weights = self.weights(places.repeat(answers.shape[0], 1))  # (B, M, 1)
        log_weights = torch.where(counted, weights, -torch.inf).log_softmax(1)
        together = self._joined(answers, log_weights)
        alone = torch.where(held_at_all, answers, together)
        return torch.cat([together, alone], dim=1).transpose(0, 1)

    def _joined(self, answers: Tensor, log_weights: Tensor) -> Tensor:
        """(B, M, C) and (B, M, 1) to (B, 1, C)."""
        if not self.ratings:
            return torch.logsumexp(log_weights + answers, dim=1, keepdim=True)
        shares, rated = answers[..., : -self.ratings], answers[..., -self.ratings :]
        mean = (log_weights.exp() * rated).sum(dim=1, keepdim=True)
        return torch.cat([torch.logsumexp(log_weights + shares, dim=1, keepdim=True), mean], dim=-1)


def late_fusion(widths: Mapping[str, int], num_classes: int, *, ratings: int = 0, **options: object) -> LateFusion:
    """Build the model from options by name, those of :class:`CMTConfig`; by default as large as `cmt`, within 10 %."""
    config = read_options("late", CMTConfig, options, width=160, feedforward=232)
    return LateFusion(widths, num_classes, config, ratings)
