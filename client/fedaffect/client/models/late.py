"""The Late-Fusion Transformer that Zhong, Shu and Zhao (arXiv 2601.14259, section 4.4) compare theirs with.

The paper only names it. Here each modality has a transformer and a softmax head of its own, p_m, and the answer is
p = sum_m w_m p_m over the modalities that a sample has, with w the softmax of one learned number a modality: no
modality ever sees another. The loss is that of p; modality dropout is what trains each p_m alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.cmt import Adapter, CMTConfig, EncoderLayer, attention_mask, sinusoids
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

    def forward(self, tokens: Tensor, held: Tensor) -> Tensor:
        """(B, T, W) and (B, T) to scores (B, C)."""
        adapted = self.adapter(tokens)  # (B, T, D)
        adapted = adapted + sinusoids(adapted.shape[1], adapted.shape[2], adapted.device)
        adapted = functional.dropout(adapted, self.token_dropout, self.training)
        mask = attention_mask(held)
        for layer in self.encoder:
            adapted = layer(adapted, mask)
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
        C.
    config : CMTConfig
        Of each modality's transformer.
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: CMTConfig) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.modalities = nn.ModuleDict({s: ModalityTransformer(w, num_classes, config) for s, w in widths.items()})
        # An Embedding, not a bare parameter: per-example gradients see what passes through layers.
        self.weights = nn.Embedding(len(widths), 1)
        nn.init.zeros_(self.weights.weight)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Log p of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        logs, here = [], []
        for stream, own, held in every_stream(self.widths, tokens, present):
            logs.append(self.modalities[stream](own, held).log_softmax(-1))
            here.append(held.any(dim=1))
        answers = torch.stack(logs, dim=1)  # (B, M, C)
        held_at_all = torch.stack(here, dim=1).unsqueeze(-1)  # (B, M, 1)
        # A sample with nothing is answered by all heads alike, from what each knows without an input.
        counted = held_at_all | ~held_at_all.any(dim=1, keepdim=True)
        places = torch.tensor(list(range(len(logs))), device=answers.device)
        weights = self.weights(places.repeat(answers.shape[0], 1))  # (B, M, 1)
        log_weights = torch.where(counted, weights, -torch.inf).log_softmax(1)
        return torch.logsumexp(log_weights + answers, dim=1)


def late_fusion(widths: Mapping[str, int], num_classes: int, **options: object) -> LateFusion:
    """Build the model from options by name, those of :class:`CMTConfig`; by default as large as `cmt`, within 10 %."""
    return LateFusion(
        widths, num_classes, read_options("late", CMTConfig, options, width=128, layers=2, feedforward=208)
    )
