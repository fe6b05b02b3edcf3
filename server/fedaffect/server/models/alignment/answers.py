"""What a fusion answers on materials, and the figures that choices are made by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedaffect.client.cohort import TokenTable
from fedaffect.client.metrics import summarise

_BATCH = 256


@torch.no_grad()
def logits_of(
    model: nn.Module, tables: Mapping[str, TokenTable], rows: Mapping[str, NDArray[np.int64]]
) -> NDArray[np.float32]:
    """Class scores of samples put together from tables.

    Parameters
    ----------
    model : nn.Module
        A fusion model in evaluation mode.
    tables : mapping of str to TokenTable
        By modality.
    rows : mapping of str to int64 array, shape (N,)
        Row of each sample in the modality's table.

    Returns
    -------
    float32 array, shape (N, C)
    """
    lengths = sum(tables[m].lengths(rows[m]) for m in rows)
    order = np.argsort(lengths, kind="stable")
    answers: list[NDArray[np.float32]] = []
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        padded = {m: tables[m].padded(rows[m][chosen]) for m in rows}
        tokens = {m: torch.from_numpy(values) for m, (values, _) in padded.items()}
        present = {m: torch.from_numpy(mask) for m, (_, mask) in padded.items()}
        answers.append(model(tokens, present).numpy())
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return np.concatenate(answers)[back]


def figures(
    logits: NDArray[np.float32], labels: NDArray[np.int64], among: Sequence[int] | None = None
) -> dict[str, float]:
    """Accuracy, UAR, macro and weighted F1.

    Parameters
    ----------
    logits : float32 array, shape (N, C)
    labels : int64 array, shape (N,)
    among : sequence of int, optional
        Choose only among these classes, as where a corpus knows fewer.
    """
    return summarise(confusion(logits, labels, among))


def confusion(
    logits: NDArray[np.float32], labels: NDArray[np.int64], among: Sequence[int] | None = None
) -> NDArray[np.int64]:
    """How often each class was answered with each, shape (C, C), rows true; parameters as of `figures`."""
    classes = logits.shape[1]
    scores = logits
    if among is not None:
        scores = np.full_like(logits, -np.inf)
        scores[:, list(among)] = logits[:, list(among)]
    counted = np.bincount(labels * classes + scores.argmax(1), minlength=classes**2).reshape(classes, classes)
    return counted.astype(np.int64)
