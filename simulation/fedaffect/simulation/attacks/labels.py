"""Wrong labels on everything that malicious clients hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort


def rows_of(cohort: Cohort, clients: tuple[int, ...]) -> NDArray[np.int64]:
    """Training rows of these clients, ascending."""
    held = [cohort.rows_of(client) for client in clients]
    return np.unique(np.concatenate(held)) if held else np.zeros(0, np.int64)


def flip_all_labels(cohort: Cohort, malicious: tuple[int, ...], options: Mapping[str, float], seed: int) -> Cohort:
    """Each label c becomes C - 1 - c, and the middle one of an odd number its neighbour.

    Fang et al., "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning" (2020), section 4.1.

    Parameters
    ----------
    cohort : Cohort
    malicious : tuple of int
    options : mapping
        None.
    seed : int
        Not needed: nothing is drawn.
    """
    classes = len(cohort.label_names)
    other = classes - 1 - np.arange(classes)
    middle = other == np.arange(classes)
    other[middle] = (np.arange(classes)[middle] + 1) % classes
    rows = rows_of(cohort, malicious)
    labels = cohort.train_labels.copy()
    labels[rows] = other[labels[rows]]
    return replace(cohort, train_labels=labels, soft_labels=hard(cohort.soft_labels, rows, labels))


def hard(
    votes: NDArray[np.float32] | None, rows: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Votes with those of some rows all for their label: the true ones would give it away."""
    if votes is None:
        return None
    votes = votes.copy()
    votes[rows] = 0.0
    votes[rows, labels[rows]] = 1.0
    return votes
