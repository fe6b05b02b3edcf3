"""A residual network for faces of 48 x 48 pixels; the teacher is the same, wider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE: Final = 48
CLASSES: Final = ("neutral", "joy", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
# Of R, G and B in a grey value, as ITU-R BT.601 and Pillow have it.
_GREY: Final = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class ExpressionConfig:
    """Size of the network.

    Parameters
    ----------
    stem : int
        Channels at full resolution.
    channels : tuple of int
        Of each stage; every stage halves the side.
    blocks : int
        Residual blocks a stage.
    """

    stem: int = 32
    channels: tuple[int, ...] = (48, 96, 176)
    blocks: int = 2


# The student has 1.4 million parameters, the teacher 2.7; three bytes of rounding apart they fit 3 MB each.
SIZES: Final[Mapping[str, ExpressionConfig]] = MappingProxyType(
    {"student": ExpressionConfig(), "teacher": ExpressionConfig(channels=(96, 160, 216))}
)


class Block(nn.Module):
    """Two 3 x 3 convolutions and a way past them (He et al., arXiv 1512.03385)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outside)
        self.past: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.past = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inside, H, W) -> (B, outside, H / stride, W / stride)."""
        hidden = functional.relu(self.first_norm(self.first(maps)))
        return functional.relu(self.second_norm(self.second(hidden)) + self.past(maps))


class ExpressionNet(nn.Module):
    """Faces to features and class scores.

    Pictures become grey, and each is standardised by its own mean and deviation, so that light and camera matter
    less; both happen inside the network, which therefore takes RGB as every other face encoder does.

    Parameters
    ----------
    config : ExpressionConfig
        Its size.
    """

    def __init__(self, config: ExpressionConfig) -> None:
        super().__init__()
        self.width = config.channels[-1]
        self.grey: Tensor
        self.register_buffer("grey", torch.tensor(_GREY).view(1, 3, 1, 1), persistent=False)
        layers: list[nn.Module] = [
            nn.Conv2d(1, config.stem, 3, 1, 1, bias=False),
            nn.BatchNorm2d(config.stem),
            nn.ReLU(),
        ]
        inside = config.stem
        for outside in config.channels:
            for place in range(config.blocks):
                layers.append(Block(inside, outside, 2 if place == 0 else 1))
                inside = outside
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(inside, len(CLASSES))

    def features(self, grey: Tensor) -> Tensor:
        """Standardised grey faces (B, 1, S, S) to feature vectors (B, W)."""
        maps: Tensor = self.layers(grey)
        return maps.mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """RGB faces, any linear scale, (B, 3, S, S), to feature vectors (B, W)."""
        return self.features(standardise((pixels * self.grey).sum(dim=1, keepdim=True)))

    def scores(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, W) and class scores (B, 8) of standardised grey faces (B, 1, S, S)."""
        features = self.features(grey)
        return features, self.head(functional.dropout(features, 0.2, self.training))


class BothViews(nn.Module):
    """Mean of a network's features of a face and of its mirror image, so that both get the same answer.

    Parameters
    ----------
    network : ExpressionNet
    """

    def __init__(self, network: ExpressionNet) -> None:
        super().__init__()
        self.network = network
        self.width = network.width

    def forward(self, pixels: Tensor) -> Tensor:
        """RGB faces (B, 3, S, S) to feature vectors (B, W)."""
        straight, mirrored = self.network(torch.cat([pixels, pixels.flip(-1)])).chunk(2)
        mean: Tensor = (straight + mirrored) / 2
        return mean


def standardise(grey: Tensor) -> Tensor:
    """Zero mean and unit deviation for each picture, (B, 1, S, S); a picture of one grey becomes zeros."""
    centred = grey - grey.mean(dim=(2, 3), keepdim=True)
    deviation = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return centred / (deviation + 1e-2)
