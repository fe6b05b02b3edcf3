"""How sure an answer is that rests on nothing which the encoders can judge: silence, a blank picture, unknown words."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# How much of it is believed.
_BELIEF: Final = 0.25


def doubted(probabilities: NDArray[Any], doubtful: bool = True) -> NDArray[Any]:
    """Probabilities, shape (C,), of an answer to what the encoders cannot judge: nearer to knowing nothing.

    The label stays, its confidence falls below what thresholds ask for, so that a cloud is asked where there is one.
    """
    if not doubtful:
        return probabilities
    return np.asarray(_BELIEF * probabilities + (1 - _BELIEF) / probabilities.size)


def surest_doubt(classes: int) -> float:
    """The largest confidence of an answer, of so many classes, that rests on nothing which the encoders can judge."""
    return _BELIEF + (1 - _BELIEF) / classes
