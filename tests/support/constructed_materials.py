"""Constructed materials: classes are directions, and rows are those with noise."""

from __future__ import annotations

import numpy as np

from fedaffect.client.cohort import TokenTable
from fedaffect.server.models.alignment.material import Material

CLASSES = 7
WIDTHS = {"text": 24, "audio": 20, "video": 16}


def material(
    corpus: str, modality: str, rows: int = 210, seed: int = 0, copies: int = 0, noise: float = 0.4
) -> Material:
    draw = np.random.default_rng(seed)
    labels = np.arange(rows) % CLASSES
    width = WIDTHS[modality]
    directions = np.random.default_rng(99).normal(size=(CLASSES, 32))[:, :width]
    lengths = draw.integers(1, 5, rows) if modality != "video" else np.ones(rows, np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def table() -> TokenTable:
        tokens = np.repeat(directions[labels], lengths, axis=0) + 0.4 * draw.normal(size=(offsets[-1], width))
        return TokenTable(tokens.astype(np.float16), offsets)

    return Material(
        corpus=corpus,
        modality=modality,
        tables=tuple(table() for _ in range(1 + copies)),
        labels=labels.astype(np.int64),
        votes=np.eye(CLASSES, dtype=np.float32)[labels],
        owners=np.array([f"owner-{row % 5}" if modality != "video" else "" for row in range(rows)]),
        splits=np.array(["train", "train", "train", "dev", "test"])[(np.arange(rows) // CLASSES) % 5],
        words=tuple(f"this is line {_letters(row)}" for row in range(rows)) if modality == "text" else (),
    )


def _letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


def one_of_each() -> list[Material]:
    return [
        material("meld", "text", seed=1),
        material("ravdess", "audio", seed=2, copies=1),
        material("ferplus", "video", seed=3),
    ]
