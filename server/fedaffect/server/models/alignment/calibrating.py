"""What development rows decide of a trained fusion: how its experts multiply, and each subset's temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fedaffect.client.cohort import TokenTable
from fedaffect.client.features.sequences import take_rows
from fedaffect.client.models.cmt import CrossModalTransformer
from fedaffect.client.models.experts import Experts
from fedaffect.edge.calibration.temperature import fit_temperature, softmax
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.subsets import subset_key
from fedaffect.server.models.alignment.answers import logits_of
from fedaffect.server.models.alignment.material import LABELS, Material

# Of each corpus, and of each constructed subset.
MOST_ROWS: Final = 800
NEUTRAL: Final = label_set(LABELS).labels.index("neutral")
# In how many samples a modality shows nothing of what another shows; see docs/results/edge.md for others.
UNSHOWN: Final = 0.3
# What a class that is rare is called takes more rows to know.
_MOST_FOR_PRIORS: Final = 4000
# Shares that a manifest keeps.
_DIGITS: Final = 4


def let_experts_answer(
    model: CrossModalTransformer, materials: Sequence[Material], seed: int = 0, unshown: float = UNSHOWN
) -> dict[str, Any]:
    """Have a fusion that learned from corpora of one modality multiply what it says of each.

    Parameters
    ----------
    model : CrossModalTransformer
        In evaluation mode; changed.
    materials : sequence of Material
        Their development rows are taken. A modality whose rows lack a class, or that has none, favours no class.
    seed : int
        Of the rows drawn.
    unshown : float
        As of `Experts`.

    Returns
    -------
    dict of str to object
        The model's option ``experts``.
    """
    draw = np.random.default_rng(seed)
    classes = len(label_set(LABELS))
    priors = {}
    there = {material.modality for material in materials}
    for modality in (stream for stream in model.streams if stream in there):
        table, labels = pool_of(modality, materials, draw, _MOST_FOR_PRIORS)
        if {*labels.tolist()} == {*range(classes)}:
            logits = logits_of(model, {modality: table}, {modality: np.arange(len(labels))})
            priors[modality] = favoured(logits, labels)
    model.experts = Experts(priors=priors, neutral=NEUTRAL, unshown=unshown)
    return asdict(model.experts)


def favoured(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> list[float]:
    """Mean probability of each class over rows in which every class weighs the same, shape (C,).

    Parameters
    ----------
    logits : float32 array, shape (N, C)
    labels : int64 array, shape (N,)
        Every class at least once.
    """
    probabilities = softmax(logits)
    means = np.stack([probabilities[labels == label].mean(axis=0) for label in range(logits.shape[1])])
    return [max(round(float(share), _DIGITS), 10**-_DIGITS) for share in means.mean(axis=0)]


def temperatures(model: nn.Module, materials: Sequence[Material], seed: int = 0) -> dict[str, float]:
    """A temperature for each subset of the modalities that the materials have.

    Subsets of several modalities are constructed: development rows of equal label side by side. Such modalities err
    independently, which those of one person do not; the combination's temperature is therefore no lower than the
    lowest of its modalities'.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    materials : sequence of Material
        Their development rows are taken, of each corpus as many as of any other, if it has them.
    seed : int
        Of the rows drawn.

    Returns
    -------
    dict of str to float
        By subset as `subset_key` writes it.
    """
    draw = np.random.default_rng(seed)
    pools = {m: pool_of(m, materials, draw) for m in MODALITIES if any(x.modality == m for x in materials)}
    found: dict[str, float] = {}
    for size in range(1, len(pools) + 1):
        for chosen in combinations(pools, size):
            labels, rows = side_by_side([pools[m][1] for m in chosen], draw)
            if len(labels):
                logits = logits_of(model, {m: pools[m][0] for m in chosen}, dict(zip(chosen, rows, strict=True)))
                least = min((found[m] for m in chosen if m in found), default=0.0)
                found[subset_key(chosen)] = max(least, round(fit_temperature(logits, labels), 4))
    return found


def pool_of(
    modality: str, materials: Sequence[Material], draw: np.random.Generator, most: int = MOST_ROWS
) -> tuple[TokenTable, NDArray[np.int64]]:
    """Development rows of one modality as one table, and their labels."""
    parts, labels = [], []
    for material in materials:
        if material.modality == modality:
            rows = np.sort(draw.permutation(material.of_split("dev"))[:most])
            parts.append(take_rows(material.tables[0], rows))
            labels.append(material.labels[rows])
    starts = np.cumsum([0, *(len(part.tokens) for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    table = TokenTable(np.concatenate([part.tokens for part in parts]), np.concatenate([*offsets, starts[-1:]]))
    return table, np.concatenate(labels)


def side_by_side(
    labels: Sequence[NDArray[np.int64]], draw: np.random.Generator
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Labels (N,) and a row of each pool for each; all rows of the only pool, or draws of equal label from several."""
    if len(labels) == 1:
        return labels[0], [np.arange(len(labels[0]))]
    common = sorted(set.intersection(*(set(each.tolist()) for each in labels)))
    if not common:
        return np.zeros(0, np.int64), []
    wanted = draw.choice(common, MOST_ROWS).astype(np.int64)
    places: list[Mapping[int, NDArray[np.int64]]] = [{c: np.flatnonzero(each == c) for c in common} for each in labels]
    return wanted, [np.array([draw.choice(of[int(label)]) for label in wanted], np.int64) for of in places]
