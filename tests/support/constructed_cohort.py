"""A cohort of constructed data: random features whose class shifts their mean. It stands for no corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedaffect.client.cohort import Cohort, TokenTable


def constructed_cohort(
    folder: Path,
    *,
    clients: int,
    examples: int | tuple[int, int] = 32,
    tokens: dict[str, int] | None = None,
    width: int = 256,
    classes: int = 4,
    rows: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a cohort of random arrays.

    Parameters
    ----------
    folder : Path
        Must not exist.
    clients : int
        K.
    examples : int or pair of int
        Training examples of each client, or the range that they are drawn from.
    tokens : dict of str to int, optional
        Tokens a sample has of each stream; one of each by default.
    width : int
        Width of every token.
    classes : int
    rows : int, optional
        Distinct samples, shared by clients in turn where there are fewer than all clients hold together.
    seed : int

    Returns
    -------
    Path
        The folder.
    """
    rng = np.random.default_rng(seed)
    tokens = tokens or {"text": 1, "audio": 1, "video": 1}
    low, high = (examples, examples) if isinstance(examples, int) else examples
    sizes = rng.integers(low, high + 1, size=clients)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    held = rows or int(offsets[-1])
    dev = test = 64
    total = held + dev + test
    labels = rng.integers(0, classes, size=total)
    tables = {}
    for stream, length in tokens.items():
        shift = rng.normal(size=(classes, width)).astype(np.float32)
        values = rng.normal(size=(total, length, width)).astype(np.float32) + 0.2 * shift[labels][:, None, :]
        tables[stream] = TokenTable(
            values.reshape(total * length, width), np.arange(total + 1, dtype=np.int64) * length
        )
    cohort = Cohort(
        tables=tables,
        present={stream: np.ones(total, dtype=bool) for stream in tokens},
        labels=labels,
        train_labels=labels.copy(),
        client_offsets=offsets.astype(np.int64),
        client_rows=np.arange(offsets[-1], dtype=np.int64) % held,
        splits={"dev": np.arange(held, held + dev), "test": np.arange(held + dev, total)},
        groups=np.arange(total, dtype=np.int64) % 8,
        group_names=tuple(f"owner-{k}" for k in range(8)),
        client_names=tuple(f"client-{k}" for k in range(clients)),
        label_names=tuple(f"class-{c}" for c in range(classes)),
        about={"dataset": "constructed", "note": "random arrays", "seed": seed},
    )
    cohort.save(folder)
    return folder
