"""Valence and arousal of class probabilities, for models that did not learn to rate them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

# Pleasure and arousal of emotion words as people rated them, -1 to 1; after Russell and Mehrabian, "Evidence for a
# three-factor theory of emotions" (1977), in tenths. Labels that are no emotion lie where their name says.
COORDINATES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "anger": (-0.5, 0.6),
        "contempt": (-0.4, 0.3),
        "disgust": (-0.6, 0.4),
        "fear": (-0.6, 0.6),
        "joy": (0.8, 0.5),
        "sadness": (-0.6, -0.3),
        "surprise": (0.4, 0.7),
        "neutral": (0.0, 0.0),
        "calm": (0.7, -0.5),
        "excitement": (0.6, 0.8),
        "frustration": (-0.6, 0.5),
        "power": (0.5, 0.4),
        "positive": (0.6, 0.2),
        "negative": (-0.6, 0.2),
        "other": (0.0, 0.0),
    }
)


@dataclass(frozen=True, slots=True)
class Affect:
    """A place in the plane of valence and arousal.

    Parameters
    ----------
    valence, arousal : float
        -1 to 1.
    derived : bool
        Whether it was computed from class probabilities and fixed coordinates, and not rated by the model.
    """

    valence: float
    arousal: float
    derived: bool


def affect_of(probabilities: Mapping[str, float], ratings: Mapping[str, float] | None = None) -> Affect:
    """The model's own ratings where it has both; otherwise the mean of its classes' coordinates.

    Parameters
    ----------
    probabilities : mapping of str to float
        By label of the vocabulary; they add up to 1.
    ratings : mapping of str to float, optional
        What the model rated beside the class.
    """
    if ratings and "valence" in ratings and "arousal" in ratings:
        valence, arousal = (max(-1.0, min(1.0, ratings[name])) for name in ("valence", "arousal"))
        return Affect(valence, arousal, derived=False)
    places = [(share, COORDINATES.get(label, (0.0, 0.0))) for label, share in probabilities.items()]
    return Affect(
        sum(share * valence for share, (valence, _) in places),
        sum(share * arousal for share, (_, arousal) in places),
        derived=True,
    )
