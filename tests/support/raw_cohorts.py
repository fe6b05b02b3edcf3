"""Small constructed cohorts of raw input for networks that learn: words, noise and stripes, not real data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort, TokenTable

# Of the tokenizer of tests.support.small_models: [CLS], [SEP], and words that tell the classes.
_BEGIN, _END, _TELLING, _OTHERS = 2, 3, (7, 8), (4, 5, 6, 9)
_SIDE = 32
Make: TypeAlias = Callable[[int, np.random.Generator], NDArray[Any]]


def raw_cohort(modalities: Sequence[str], *, examples: int = 24, classes: int = 2, seed: int = 0) -> Cohort:
    """One client with ``examples`` training rows, and half as many in dev and in test."""
    rng = np.random.default_rng(seed)
    total = 2 * examples
    labels = rng.integers(0, classes, total)
    make: Mapping[str, Make] = {"text": _words, "audio": _sounds, "video": _pictures}
    tables = {m: _table([make[m](int(label), rng) for label in labels]) for m in modalities}
    present = {m: np.ones(total, bool) for m in modalities}
    if len(modalities) > 1:
        # A fifth lack one of them.
        lacking = np.flatnonzero(rng.random(total) < 0.2)
        for row in lacking:
            present[modalities[int(row) % len(modalities)]][row] = False
    held = np.arange(examples, total)
    return Cohort(
        tables=tables,
        present=present,
        labels=labels.astype(np.int64),
        train_labels=labels.astype(np.int64),
        client_offsets=np.array([0, examples]),
        client_rows=np.arange(examples),
        splits={"dev": held[: examples // 2], "test": held[examples // 2 :]},
        groups=np.zeros(total, np.int64),
        group_names=("nobody",),
        client_names=("all",),
        label_names=("joy", "sadness")[:classes],
        about={"note": "constructed"},
    )


def _words(label: int, rng: np.random.Generator) -> NDArray[np.int32]:
    said = [*rng.choice(_OTHERS, rng.integers(1, 5)), _TELLING[label], *rng.choice(_OTHERS, rng.integers(0, 3))]
    return np.array([[_BEGIN], *([one] for one in said), [_END]], np.int32)


def _sounds(label: int, rng: np.random.Generator) -> NDArray[np.float32]:
    blocks = int(rng.integers(12, 30))
    pitch = np.sin(2 * np.pi * (200, 1500)[label] * np.arange(blocks * 320) / 16_000)
    return (pitch + 0.1 * rng.normal(size=len(pitch))).reshape(blocks, 320).astype(np.float32)


def _pictures(label: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    frames = int(rng.integers(1, 4))
    stripes = np.where(np.arange(_SIDE) % 8 < 4, 200, 40)
    one = np.tile(stripes, (_SIDE, 1)) if label else np.tile(stripes[:, None], (1, _SIDE))
    seen = one[None, :, :, None] + rng.integers(-30, 30, (frames, _SIDE, _SIDE, 3))
    return np.clip(seen, 0, 255).astype(np.uint8).reshape(frames, -1)


def _table(sequences: Sequence[NDArray[Any]]) -> TokenTable:
    offsets = np.cumsum([0, *map(len, sequences)]).astype(np.int64)
    return TokenTable(np.concatenate(sequences), offsets)
