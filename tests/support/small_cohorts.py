"""Small constructed cohorts: Gaussian tokens whose mean depends on the class. Not real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedaffect.client.cohort import Cohort, TokenTable


def constructed_cohort(
    folder: Path,
    *,
    clients: int = 4,
    examples: int = 24,
    widths: dict[str, int] | None = None,
    tokens: int = 3,
    classes: int = 3,
    ragged: bool = True,
    seed: int = 0,
) -> Path:
    """Write a cohort whose classes can be told apart, and return its folder."""
    rng = np.random.default_rng(seed)
    widths = widths or {"text": 12, "audio": 8, "video": 10}
    held_out = 2 * clients * 4
    n = clients * examples + held_out
    labels = rng.integers(0, classes, n)
    tables, present = {}, {}
    for stream, width in widths.items():
        lengths = rng.integers(1, tokens + 1, n) if ragged else np.full(n, tokens)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        means = rng.normal(size=(classes, width))
        values = means[np.repeat(labels, lengths)] + rng.normal(size=(offsets[-1], width))
        tables[stream] = TokenTable(values.astype(np.float16), offsets)
        present[stream] = rng.random(n) > 0.1 if ragged else np.ones(n, bool)
    train = np.arange(clients * examples)
    held = np.arange(clients * examples, n)
    groups = np.concatenate([np.repeat(np.arange(clients), examples), np.arange(held_out) % clients])
    names = tuple(f"person{k}" for k in range(clients))
    Cohort(
        tables=tables,
        present=present,
        labels=labels,
        train_labels=labels.copy(),
        client_offsets=np.arange(clients + 1, dtype=np.int64) * examples,
        client_rows=train.astype(np.int64),
        splits={"dev": held[: held_out // 2].astype(np.int64), "test": held[held_out // 2 :].astype(np.int64)},
        groups=groups.astype(np.int64),
        group_names=names,
        client_names=names,
        label_names=("anger", "joy", "neutral", "sadness", "fear")[:classes],
        about={"dataset": "constructed", "note": "Gaussian tokens, not real data"},
    ).save(folder)
    return folder
