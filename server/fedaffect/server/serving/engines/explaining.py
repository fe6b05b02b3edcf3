"""What an answer rests on: each modality by itself, and how much the answer would change without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.circumplex import Affect

Tokens = Mapping[str, NDArray[np.float32]]

LEAVE_ONE_OUT: Final = "leave-one-out"
_NOTHING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face of the newest picture.

    Parameters
    ----------
    id : int
        The same for as long as the face is followed in this stream.
    box : tuple of float
        Left, top, right, bottom as shares of the picture's width and height.
    probabilities : mapping of str to float
        What this face says alone, by label; empty where it was not looked at closely.
    fused : bool
        Whether the stream's answer rests on this face. Voice and words belong to nobody in particular: they are fused
        with the largest face.
    """

    id: int
    box: tuple[float, float, float, float]
    probabilities: Mapping[str, float] = field(default_factory=dict)
    fused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Beside a stream's answer.

    Parameters
    ----------
    by_modality : mapping of str to mapping of str to float
        What the model says of each modality alone.
    weights : mapping of str to float
        Leave-one-out shares: by how much the answer changes without the modality (total variation), as a share of all
        such changes; they add up to 1.
    affect : Affect
    faces : tuple of SeenFace
        Largest first.
    windows : mapping of str to (float, float)
        Which seconds of the stream each modality's part comes from.
    features : mapping of str to float32 array, shape (T, W)
        What the encoders made of it; never sent, and kept only with consent.
    encoder_keys : mapping of str to str
    """

    by_modality: Mapping[str, Mapping[str, float]]
    weights: Mapping[str, float]
    affect: Affect
    faces: tuple[SeenFace, ...] = ()
    windows: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    features: Tokens = field(default_factory=dict)
    encoder_keys: Mapping[str, str] = field(default_factory=dict)


def asked_of(tokens: Tokens) -> list[Tokens]:
    """What the fusion must be asked to explain an answer: all of it, then each alone, then all but each.

    Of one modality, only itself; of two, one alone is all but the other.
    """
    if len(tokens) < 2:
        return [tokens]
    alone: list[Tokens] = [{modality: tokens[modality]} for modality in tokens]
    if len(tokens) == 2:
        return [tokens, *alone]
    return [tokens, *alone, *({m: rows for m, rows in tokens.items() if m != left_out} for left_out in tokens)]


def told_by(
    modalities: Sequence[str], shares: NDArray[np.float32]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
    """Probabilities of each modality alone, and leave-one-out weights.

    Parameters
    ----------
    modalities : sequence of str
        In the order of `asked_of`'s tokens.
    shares : float32 array, shape (R, C)
        The fusion's answers to what `asked_of` asked.
    """
    if len(modalities) < 2:
        return dict(zip(modalities, shares[:1], strict=True)), dict.fromkeys(modalities, 1.0)
    alone = shares[1 : 1 + len(modalities)]
    without = alone[::-1] if len(modalities) == 2 else shares[1 + len(modalities) :]
    changes = np.abs(without - shares[0]).sum(axis=1) / 2
    total = float(changes.sum())
    weights = changes / total if total > _NOTHING else np.full(len(modalities), 1 / len(modalities))
    return dict(zip(modalities, alone, strict=True)), dict(zip(modalities, weights.tolist(), strict=True))
