"""MMBT, the multimodal bitransformer of Kiela et al. (arXiv 1909.02950), over frozen features.

One stack of encoder layers reads [CLS] and then every token of every modality: a token is a linear projection of an
encoder's vector, plus an embedding of its segment (here one a modality) and of its place, then LayerNorm and dropout.
The classifier reads the pooled [CLS]: s = W tanh(W_p h_CLS + b_p) + b. Unlike the paper's it
starts from no pretrained BERT, its layers are pre-norm, and places are sinusoids.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.cmt import CMTConfig, EncoderLayer, attention_mask, sinusoids
from fedaffect.client.models.options import read_options
from fedaffect.client.models.streams import every_stream


class MultimodalBitransformer(nn.Module):
    """Self-attention over [CLS] and the tokens of all modalities.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    config : CMTConfig
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: CMTConfig) -> None:
        super().__init__()
        self.widths = dict(widths)
        self.config = config
        self.projections = nn.ModuleDict({stream: nn.Linear(w, config.width) for stream, w in widths.items()})
        # A row a modality; the last one is [CLS].
        self.segments = nn.Embedding(len(widths) + 1, config.width)
        self.embedding_norm = nn.LayerNorm(config.width)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.pooler_norm = nn.LayerNorm(config.width)
        self.pooler = nn.Linear(config.width, config.width)
        self.head = nn.Linear(config.width, num_classes)
        nn.init.normal_(self.segments.weight, std=0.02)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        streams = list(every_stream(self.widths, tokens, present))
        first = streams[0][1]
        places = torch.tensor(list(range(len(streams) + 1)), device=first.device)
        segments = self.segments(places.repeat(first.shape[0], 1))  # (B, M + 1, D)
        sequence, masks = [segments[:, -1:]], [torch.ones_like(streams[0][2][:, :1])]
        for place, (stream, own, held) in enumerate(streams):
            projected = self.projections[stream](own) + segments[:, place : place + 1]  # (B, T_m, D)
            sequence.append(projected + sinusoids(projected.shape[1], projected.shape[2], projected.device))
            masks.append(held)
        hidden = self.embedding_norm(torch.cat(sequence, dim=1))  # (B, 1 + T, D)
        hidden = functional.dropout(hidden, self.config.token_dropout, self.training)
        mask = attention_mask(torch.cat(masks, dim=1))
        for layer in self.encoder:
            hidden = layer(hidden, mask)
        pooled = torch.tanh(self.pooler(self.pooler_norm(hidden[:, 0])))  # (B, D)
        scores: Tensor = self.head(functional.dropout(pooled, self.config.dropout, self.training))
        return scores


def multimodal_bitransformer(widths: Mapping[str, int], num_classes: int, **options: object) -> MultimodalBitransformer:
    """Build the model from options by name, those of :class:`CMTConfig`; by default as large as `cmt`, within 10 %."""
    config = read_options("mmbt", CMTConfig, options, layers=2, feedforward=256)
    return MultimodalBitransformer(widths, num_classes, config)
