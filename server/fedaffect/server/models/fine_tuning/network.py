"""Encoders and what is behind them, as one network that takes raw input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

from fedaffect.client.models.registry import build_model
from fedaffect.edge.errors import ConfigError
from fedaffect.server.models.fine_tuning.encoders import MediaEncoder

# The model that a single encoder has behind it; see `fedaffect.client.models.own`.
OWN_HEAD: Final = "own"


class FineTuned(nn.Module):
    """Raw input of one or several modalities to class scores.

    Parameters
    ----------
    encoders : mapping of str to MediaEncoder
        By modality.
    model : str
        ``own``, of a single modality, or a fusion model of the registry.
    num_classes : int
        C.
    options : mapping
        The model's own settings.
    ratings : int
        R, what is answered besides.

    Raises
    ------
    ConfigError
        If several modalities are to have one head of ``own``, or the fusion model hears whole dialogues.
    """

    def __init__(
        self,
        encoders: Mapping[str, MediaEncoder],
        model: str,
        num_classes: int,
        options: Mapping[str, object],
        ratings: int = 0,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.own = model == OWN_HEAD
        if self.own and len(encoders) > 1:
            several = ", ".join(encoders)
            raise ConfigError(f"--model {OWN_HEAD} is of one modality, not of {several}; choose a fusion, such as cmt")
        widths = {modality: one.width for modality, one in encoders.items()}
        self.head = build_model(model, widths, num_classes + ratings, options, ratings)
        if getattr(self.head, "unit", "utterance") != "utterance":
            raise ConfigError(f"model {model} hears whole dialogues; add --model-option dialogue=false")

    def forward(self, rows: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Class scores, and ratings behind them.

        Parameters
        ----------
        rows : mapping of str to Tensor, shape (B, T_m, W_m)
        present : mapping of str to Tensor of bool, shape (B, T_m)
            False for padding and for modalities that a sample lacks.

        Returns
        -------
        Tensor, shape (B, C + R)
        """
        made = {m: self._tokens(m, rows[m], present[m]) for m in self.encoders if bool(present[m].any())}
        fused: Tensor = self.head({m: tokens for m, (tokens, _) in made.items()}, {m: h for m, (_, h) in made.items()})
        return fused

    def _tokens(self, modality: str, rows: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of one modality (B, T', W'), and which are there; an encoder sees only the samples that have it."""
        encoder: MediaEncoder = self.encoders[modality]  # type: ignore[assignment]
        having = held.any(dim=1)
        features = encoder(rows, held) if bool(having.all()) else encoder(rows[having], held[having])
        # A head of its own takes all features of an encoder, a fusion as many tokens as the cloud makes of them.
        tokens, there = features if self.own else encoder.tokens(*features)
        if bool(having.all()):
            return tokens, there
        every = tokens.new_zeros(len(rows), *tokens.shape[1:])
        every[having] = tokens
        mask = there.new_zeros(len(rows), there.shape[1])
        mask[having] = there
        return every, mask

    def train(self, mode: bool = True) -> FineTuned:
        """Train or evaluate; encoders that are frozen, and statistics of batches, stay as they came."""
        super().train(mode)
        for encoder in self.encoders.values():
            if not any(parameter.requires_grad for parameter in encoder.parameters()):
                encoder.eval()
        for module in self.modules():
            # With batches of a few samples a clip's neighbours would decide what it looks like.
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.eval()
        return self


def freeze(encoder: MediaEncoder, how: str) -> None:
    """Freeze a part of an encoder.

    Parameters
    ----------
    encoder : MediaEncoder
    how : {"half", "all"}
        ``half``: all before the upper half of its layers, which for Wav2Vec2 are the convolutions, the projection
        behind them and the lower half; ``all``: nothing of it learns.

    Raises
    ------
    ConfigError
        If it has no layers of which half could be frozen.
    """
    if how == "all":
        encoder.requires_grad_(False)
        return
    name, layers = _stack(encoder)
    first = f"{name}.{len(layers) // 2}."
    for parameter, value in encoder.named_parameters():
        if parameter.startswith(first):
            return
        value.requires_grad_(False)


def _stack(encoder: MediaEncoder) -> tuple[str, nn.ModuleList]:
    lists = [(name, one) for name, one in encoder.named_modules() if isinstance(one, nn.ModuleList)]
    # Convolutions in front are a list too, without linear layers.
    stacks = {name: one for name, one in lists if any(isinstance(m, nn.Linear) for m in one.modules())}
    if not stacks:
        raise ConfigError("this network has no list of layers of which half could be frozen; use --freeze MODALITY:all")
    largest = max(stacks, key=lambda name: sum(p.numel() for p in stacks[name].parameters()))
    return largest, stacks[largest]


def trained_share(module: nn.Module) -> tuple[int, int]:
    """Parameters of a module that learn, and all."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, learns in sizes if learns), sum(n for n, _ in sizes)
