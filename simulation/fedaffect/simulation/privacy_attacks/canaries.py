"""Examples made for attacks: features and labels that have nothing to do with each other. Not real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort, TokenTable

_WIDTHS = {"text": 256, "audio": 256}
_CLASSES = 7


def random_cohort(
    folder: Path, examples: int, members: NDArray[np.int64], seed: int, tokens: int = 1, signal: float = 0.0
) -> Path:
    """Write a cohort of one client that trains on ``members`` of these examples, and return its folder.

    Parameters
    ----------
    folder : Path
    examples : int
    members : int64 array
        Rows that the client holds; the others are those that it might have held.
    seed : int
    tokens : int
        Of each stream of each example.
    signal : float
        How far apart the classes' means are, in deviations; 0 leaves nothing to learn but by heart.
    """
    rng = np.random.default_rng([seed, 2])
    labels = rng.integers(0, _CLASSES, examples)
    tables, present = {}, {}
    for stream, width in _WIDTHS.items():
        means = signal * rng.normal(size=(_CLASSES, width)) / np.sqrt(width)
        values = means[np.repeat(labels, tokens)] + rng.normal(size=(examples * tokens, width))
        tables[stream] = TokenTable(values.astype(np.float32), np.arange(examples + 1, dtype=np.int64) * tokens)
        present[stream] = np.ones(examples, bool)
    Cohort(
        tables=tables,
        present=present,
        labels=labels,
        train_labels=labels.copy(),
        client_offsets=np.array([0, len(members)], dtype=np.int64),
        client_rows=np.asarray(members, dtype=np.int64),
        splits={},
        groups=np.zeros(examples, np.int64),
        group_names=("canaries",),
        client_names=("canaries",),
        label_names=tuple(f"class{c}" for c in range(_CLASSES)),
        about={"dataset": "constructed", "note": "random examples for audits, not real data"},
    ).save(folder)
    return folder
