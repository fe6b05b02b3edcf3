"""How much of a clip is read; apart from what reads it, whose imports take seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a clip is read.

    Parameters
    ----------
    max_seconds : float
        Of sound.
    max_frames : int
        Of a film, at equal distances.
    """

    max_seconds: float = 10.0
    max_frames: int = 8
