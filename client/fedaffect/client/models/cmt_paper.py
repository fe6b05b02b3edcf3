"""The cross-modal transformer of Zhong, Shu and Zhao (arXiv 2601.14259) by its equations, with nothing added.

Equations 3 to 8 are the encoders', whose features come in. Each modality is one vector of the common width D, z^m, a
linear projection of its mean token, or of its text's first ([CLS]). Then, over the modalities that a sample has:

- Q, K, V = W_Q [z^v; z^a; z^t], W_K [...], W_V [...]     (9)
- z^cmt = softmax(Q K^T / sqrt(d_k)) V, several heads      (10)
- z^final = TransformerEncoder(z^cmt)                      (11)
- y = softmax(W_c z^final + b_c)                           (12)

What our `cmt` adds is left out: sequences of tokens, the residual and LayerNorm around equation 10, embeddings of
modality and time, dropout of tokens. The paper names neither D, heads nor depth, which are `cmt`'s, nor how z^final
becomes one vector: the mean over the modalities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from fedaffect.client.models.cmt import CMTConfig, CrossModalAttention, EncoderLayer, attention_mask
from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.client.models.streams import every_stream


@dataclass(frozen=True, slots=True)
class PaperConfig:
    """Sizes, as those of :class:`fedaffect.client.models.cmt.CMTConfig`.

    Parameters
    ----------
    width, heads, layers, feedforward : int
    dropout : float
        Within the encoder layers.
    cls : bool
        Whether the text's vector is its first token, for encoders that begin with [CLS]; else the mean of its tokens.
    """

    width: int = 192
    heads: int = 4
    layers: int = 1
    feedforward: int = 512
    dropout: float = 0.1
    cls: bool = False

    def trunk(self) -> CMTConfig:
        """The sizes alone, checked."""
        return CMTConfig(self.width, self.heads, self.layers, self.feedforward, self.dropout, token_dropout=0.0)


class PaperTransformer(nn.Module):
    """Equations 9 to 12 over one vector a modality.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    config : PaperConfig
    """

    attends_by_token: ClassVar[bool] = False

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: PaperConfig) -> None:
        super().__init__()
        trunk = config.trunk()
        self.widths = dict(widths)
        self.cls = config.cls
        self.projections = nn.ModuleDict({stream: nn.Linear(w, config.width) for stream, w in widths.items()})
        self.cross_attention = CrossModalAttention(trunk)
        self.encoder = nn.ModuleList(EncoderLayer(trunk) for _ in range(config.layers))
        self.head = nn.Linear(config.width, num_classes)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores before the softmax of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        return self._scores(tokens, present, None)

    def with_attention(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Class scores (B, C), and who attends to whom, (B, L, heads, M, M).

        A row and a column a stream, in the model's order, those included that a batch lacks; of equation 10 first,
        then of each encoder layer. Rows sum to 1; a stream that a sample lacks gets 0.
        """
        shares: list[Tensor] = []
        scores = self._scores(tokens, present, shares)
        return scores, torch.stack(shares, dim=1)

    def _scores(
        self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor], shares: list[Tensor] | None
    ) -> Tensor:
        vectors, here = [], []
        for stream, own, held in every_stream(self.widths, tokens, present):
            if self.cls and stream == "text":
                own, held = own[:, :1], held[:, :1]
            mean = masked_mean(own, held.unsqueeze(-1).to(own.dtype))  # (B, W)
            vectors.append(self.projections[stream](mean))
            here.append(held.any(dim=1))
        z, held = torch.stack(vectors, dim=1), torch.stack(here, dim=1)  # (B, M, D), (B, M)
        mask = attention_mask(held)
        z = self.cross_attention(z, mask, shares)
        for layer in self.encoder:
            z = layer(z, mask, shares)
        scores: Tensor = self.head(masked_mean(z, held.unsqueeze(-1).to(z.dtype)))
        return scores


def paper_transformer(widths: Mapping[str, int], num_classes: int, **options: object) -> PaperTransformer:
    """Build the model from options by name; those of :class:`PaperConfig`."""
    return PaperTransformer(widths, num_classes, read_options("cmt-paper", PaperConfig, options))
