"""Temperatures for each subset of the modalities, fitted on development rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fedaffect.client.cohort import TokenTable
from fedaffect.client.features.sequences import take_rows
from fedaffect.edge.calibration.temperature import fit_temperature
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.subsets import subset_key
from fedaffect.server.models.alignment.answers import logits_of
from fedaffect.server.models.alignment.material import Material

# Of each corpus, and of each constructed subset.
_MOST_ROWS: Final = 800


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
    pools = {m: _pool(m, materials, draw) for m in MODALITIES if any(x.modality == m for x in materials)}
    found: dict[str, float] = {}
    for size in range(1, len(pools) + 1):
        for chosen in combinations(pools, size):
            labels, rows = _side_by_side([pools[m][1] for m in chosen], draw)
            if len(labels):
                logits = logits_of(model, {m: pools[m][0] for m in chosen}, dict(zip(chosen, rows, strict=True)))
                least = min((found[m] for m in chosen if m in found), default=0.0)
                found[subset_key(chosen)] = max(least, round(fit_temperature(logits, labels), 4))
    return found


def _pool(
    modality: str, materials: Sequence[Material], draw: np.random.Generator
) -> tuple[TokenTable, NDArray[np.int64]]:
    """Development rows of one modality as one table, and their labels."""
    parts, labels = [], []
    for material in materials:
        if material.modality == modality:
            rows = np.sort(draw.permutation(material.of_split("dev"))[:_MOST_ROWS])
            parts.append(take_rows(material.tables[0], rows))
            labels.append(material.labels[rows])
    starts = np.cumsum([0, *(len(part.tokens) for part in parts)])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
    table = TokenTable(np.concatenate([part.tokens for part in parts]), np.concatenate([*offsets, starts[-1:]]))
    return table, np.concatenate(labels)


def _side_by_side(
    labels: Sequence[NDArray[np.int64]], draw: np.random.Generator
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Labels (N,) and a row of each pool for each; all rows of the only pool, or draws of equal label from several."""
    if len(labels) == 1:
        return labels[0], [np.arange(len(labels[0]))]
    common = sorted(set.intersection(*(set(each.tolist()) for each in labels)))
    if not common:
        return np.zeros(0, np.int64), []
    wanted = draw.choice(common, _MOST_ROWS).astype(np.int64)
    places: list[Mapping[int, NDArray[np.int64]]] = [{c: np.flatnonzero(each == c) for c in common} for each in labels]
    return wanted, [np.array([draw.choice(of[int(label)]) for label in wanted], np.int64) for of in places]
