"""Whether a personal part would have helped on labels that it had not seen; only then it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.personal.head import PersonalHead

# With fewer labels nothing can be held out.
LEAST: Final = 4
_FOLDS: Final = 5
# Standard errors by which it must win: chance alone makes one in fifteen people's part look that good.
_MARGIN: Final = 1.5


@dataclass(frozen=True, slots=True)
class Learned:
    """What one person's labels gave.

    Parameters
    ----------
    labels : int
        It was learned from.
    head : PersonalHead, optional
        None where it would not be better than the shared model alone, or all labels are one: it would answer that
        whatever is said, and labels of others are not there to tell.
    shared_right, personal_right : float
        Share of these labels that the shared model gets right, and a personal part that has not seen them; not a
        number with fewer than `LEAST`.
    said_for : tuple of tuple of int
        How often the shared model said each class (place) for each that it was (row); empty with fewer than `LEAST`.
    """

    labels: int
    head: PersonalHead | None = None
    shared_right: float = float("nan")
    personal_right: float = float("nan")
    said_for: tuple[tuple[int, ...], ...] = ()


def learned_from(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Learned:
    """Fit a personal part, and hold it against the shared model by cross-validated log loss.

    Parameters
    ----------
    probabilities : float array, shape (N, C)
        What the shared model says, oldest first.
    labels : int array, shape (N,)
        What it really was.
    """
    count = len(labels)
    if count < LEAST:
        return Learned(count)
    unseen = np.zeros_like(probabilities)
    fold = np.arange(count) % min(_FOLDS, count)
    for held_out in range(fold.max() + 1):
        rest = fold != held_out
        unseen[~rest] = PersonalHead.fitted(probabilities[rest], labels[rest])(probabilities[~rest])
    said = probabilities.argmax(axis=1)
    said_for = np.zeros((probabilities.shape[1],) * 2, dtype=int)
    np.add.at(said_for, (labels, said), 1)
    gains = log_loss(probabilities, labels) - log_loss(unseen, labels)
    several = len(np.unique(labels)) > 1
    wins = several and gains.mean() > _MARGIN * gains.std(ddof=1) / np.sqrt(count)
    return Learned(
        count,
        PersonalHead.fitted(probabilities, labels) if wins else None,
        float((said == labels).mean()),
        float((unseen.argmax(axis=1) == labels).mean()),
        tuple(map(tuple, said_for.tolist())),
    )


def log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each answer, shape (N,); probabilities below 1e-9 count as that."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-9))
