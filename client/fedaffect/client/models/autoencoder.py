"""Masked auto-encoders: what a model's stream encoders learn from clips that nobody labelled.

Kamble et al. name auto-encoders among their index terms and nothing more. Here an encoder f_m reads a clip of which
spans of tokens are hidden, and a linear decoder g_m gives the hidden ones back:

    L = mean over hidden t and all w of (z_tw - g_m(f_m(x, with h_m where hidden))_tw)^2,    z = (x - mean) / deviation

with h_m a learned token, and mean and deviation of each feature over all clips, so that their mean would get 1.
Denoising after Vincent et al. (2008), the hidden tokens alone after He et al. (2022), spans after Baevski et al.
(2020). Decoders and h_m are thrown away afterwards; what is kept begins a model that learns from labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from fedaffect.edge.errors import ConfigError

Tokens = Mapping[str, Tensor]


@runtime_checkable
class EncodesStreams(Protocol):
    """A model whose streams have encoders of their own, which see no other stream."""

    widths: dict[str, int]

    def stream_encodings(self, tokens: Tokens, present: Tokens) -> list[tuple[str, Tensor]]:
        """Each encoder's stream and what it makes of it, (B, T_m, d)."""


class MaskedAutoEncoder(nn.Module):
    """A model's stream encoders, each with a decoder.

    Parameters
    ----------
    name : str
        Of the model, for people.
    model : Module
        Its encoders are trained in place.
    spreads : mapping of str to Tensor, shape (2, W_m)
        Mean and deviation of each stream's features.

    Raises
    ------
    ConfigError
        If no stream of the model has an encoder of its own.
    """

    def __init__(self, name: str, model: nn.Module, spreads: Mapping[str, Tensor]) -> None:
        super().__init__()
        if not isinstance(model, EncodesStreams) or not (made := _encodings_of(model)):
            raise ConfigError(
                f"no stream of model {name!r} with these options has an encoder of its own that could be pretrained; "
                f"--model avt and --model late have"
            )
        self.model: EncodesStreams = model
        self.spreads = dict(spreads)
        self.masks = nn.ParameterDict({stream: nn.Parameter(spread[0].clone()) for stream, spread in spreads.items()})
        self.decoders = nn.ModuleList(nn.Linear(each.shape[-1], model.widths[stream]) for stream, each in made)

    def forward(self, tokens: Tokens, present: Tokens, hidden: Tokens) -> Tensor:
        """The loss of a batch, a scalar: the mean over encoders of whose stream something is hidden.

        Parameters
        ----------
        tokens : mapping of str to Tensor, shape (B, T_m, W_m)
        present, hidden : mapping of str to Tensor of bool, shape (B, T_m)
            Which tokens are there, and which of those the encoder does not see.
        """
        shown = {m: torch.where(hidden[m].unsqueeze(-1), self.masks[m], own) for m, own in tokens.items()}
        losses = []
        for (m, made), decoder in zip(self.model.stream_encodings(shown, present), self.decoders, strict=True):
            if m in hidden and hidden[m].any():
                mean, deviation = self.spreads[m]
                wanted = (tokens[m] - mean) / deviation
                losses.append(((decoder(made) - wanted)[hidden[m]] ** 2).mean())
        return torch.stack(losses).mean()

    def learned(self) -> dict[str, Tensor]:
        """The encoders' parameters by their names in the model: those that the loss reaches."""
        named = dict(self.model.named_parameters())  # type: ignore[attr-defined]
        total = torch.stack([made.sum() for _, made in _encodings_of(self.model)]).sum()
        reached = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        return {
            name: parameter.detach().clone()
            for (name, parameter), gradient in zip(named.items(), reached, strict=True)
            if gradient is not None
        }


def _encodings_of(model: EncodesStreams) -> list[tuple[str, Tensor]]:
    """Of a clip of two tokens a stream."""
    tokens = {stream: torch.ones(1, 2, width) for stream, width in model.widths.items()}
    return model.stream_encodings(tokens, {stream: torch.ones(1, 2, dtype=torch.bool) for stream in tokens})
