"""The context fusion of AVAFN (equations 1 to 7): mutual cross-attention over two or three streams, one utterance.

With H_m = W_m x_m, for every modality m and every other one n that the sample has:

- zeta_m = mean_n softmax(Q_m K_n^T / sqrt(d)) V_n
- H_m^c = LN(H_m^LN + FFN(H_m^LN)),  H_m^LN = LN(H_m + zeta_m)
- H_WCA = sum_m alpha_m H_m^c, with alpha the softmax of a linear gate over [H_1^c; ...; H_M^c]
- u = W_u [H_WCA; H_1^r; ...; H_M^r],  H_m^r = LN(W_m^r H_m)

and the answer is softmax(W u + b). Attention looks at an utterance's frames, which are averaged behind it. The model
of one stream attends to itself. The paper's recurrent states of a dialogue (equations 8 to 13) are no part of this.
The gate stands for the paper's unnamed attention matrices alpha and beta, and a mean for two others at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedaffect.client.models.cmt import attention_mask
from fedaffect.client.models.masked_mean import masked_mean
from fedaffect.client.models.options import read_options
from fedaffect.client.models.streams import every_stream
from fedaffect.edge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AVAFNConfig:
    """Sizes, of which the paper gives none but the dropout.

    Parameters
    ----------
    width : int
        d, the width of every modality's projection, of one head.
    dropout : float
        Probability in [0, 1).
    """

    width: int = 256
    dropout: float = 0.3

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 <= self.dropout < 1:
            raise ConfigError("width is at least 1, and dropout is a probability in [0, 1)")


class ModalityContext(nn.Module):
    """What one modality has of its own: projections, and what reads the others through them."""

    def __init__(self, encoder_width: int, config: AVAFNConfig) -> None:
        super().__init__()
        d = config.width
        self.dropout = config.dropout
        self.project = nn.Linear(encoder_width, d, bias=False)
        self.query_key_value = nn.Linear(d, 3 * d, bias=False)
        self.attention_norm = nn.LayerNorm(d)
        self.expand = nn.Linear(d, d)
        self.contract = nn.Linear(d, d)
        self.context_norm = nn.LayerNorm(d)
        self.residual = nn.Linear(d, d)
        self.residual_norm = nn.LayerNorm(d)

    def fused(self, own: Tensor, mixed: Tensor) -> Tensor:
        """H_m^c of H_m and zeta_m, all (B, T_m, d)."""
        normed = self.attention_norm(own + functional.dropout(mixed, self.dropout, self.training))
        fed: Tensor = self.contract(functional.relu(self.expand(normed)))
        context: Tensor = self.context_norm(normed + functional.dropout(fed, self.dropout, self.training))
        return context


class AVAFN(nn.Module):
    """Mutual cross-attention, gated sum, residual features, linear head.

    Parameters
    ----------
    widths : mapping of str to int
        Width of each stream's tokens.
    num_classes : int
        C.
    config : AVAFNConfig
    """

    def __init__(self, widths: Mapping[str, int], num_classes: int, config: AVAFNConfig) -> None:
        super().__init__()
        d, M = config.width, len(widths)
        self.widths = dict(widths)
        self.dropout = config.dropout
        self.modalities = nn.ModuleDict({stream: ModalityContext(w, config) for stream, w in widths.items()})
        self.gate = nn.Linear(M * d, M)
        self.join = nn.Linear((M + 1) * d, d)
        self.head = nn.Linear(d, num_classes)

    def forward(self, tokens: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores of any subset of the streams, (B, T_m, W_m) and (B, T_m), to (B, C)."""
        streams = list(every_stream(self.widths, tokens, present))
        masks = {stream: held for stream, _, held in streams}
        modalities = {stream: cast(ModalityContext, self.modalities[stream]) for stream in self.widths}
        own: dict[str, Tensor] = {stream: modalities[stream].project(x) for stream, x, _ in streams}  # (B, T_m, d)
        parts = {stream: modalities[stream].query_key_value(h).chunk(3, dim=-1) for stream, h in own.items()}
        contexts, residuals = [], []
        for stream, projected in own.items():
            here = masks[stream].unsqueeze(-1).to(projected.dtype)  # (B, T_m, 1)
            modality = modalities[stream]
            fused = modality.fused(projected, _from_others(stream, parts, masks))
            residual = modality.residual_norm(modality.residual(projected))
            contexts.append(masked_mean(fused, here))  # (B, d)
            residuals.append(masked_mean(residual, here))
        held = torch.stack([mask.any(dim=1) for mask in masks.values()], dim=1)  # (B, M)
        gates = self.gate(torch.cat(contexts, dim=-1))  # (B, M)
        shares = torch.where(held | ~held.any(dim=1, keepdim=True), gates, -torch.inf).softmax(-1)
        weighed = (shares.unsqueeze(-1) * torch.stack(contexts, dim=1)).sum(1)  # (B, d)
        u = self.join(torch.cat([weighed, *residuals], dim=-1))
        scores: Tensor = self.head(functional.dropout(u, self.dropout, self.training))
        return scores


def _from_others(stream: str, parts: Mapping[str, tuple[Tensor, ...]], masks: Mapping[str, Tensor]) -> Tensor:
    """zeta_m: the mean, over the other modalities that a sample has, of what this one finds in them, (B, T_m, d)."""
    query = parts[stream][0]
    found, counts = torch.zeros_like(query), torch.zeros_like(query[:, :1, :1])
    for other in [name for name in parts if name != stream] or [stream]:
        _, key, value = parts[other]
        mask = attention_mask(masks[other])
        # One head: (B, 1, T, d)
        mixed = functional.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], attn_mask=mask)
        here = masks[other].any(dim=1)[:, None, None].to(query.dtype)  # (B, 1, 1)
        found, counts = found + here * mixed[:, 0], counts + here
    return found / counts.clamp(min=1)


def avafn(widths: Mapping[str, int], num_classes: int, **options: object) -> AVAFN:
    """Build the model from options by name; those of :class:`AVAFNConfig`."""
    return AVAFN(widths, num_classes, read_options("avafn", AVAFNConfig, options))
