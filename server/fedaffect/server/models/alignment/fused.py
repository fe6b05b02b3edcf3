"""What a fusion answers to several modalities, against what it answers to each of them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.subsets import subset_key
from fedaffect.server.models.alignment.answers import figures, logits_of
from fedaffect.server.models.alignment.calibrating import NEUTRAL, pool_of, side_by_side
from fedaffect.server.models.alignment.material import Material


@dataclass(frozen=True, slots=True)
class Fused:
    """One subset of the modalities, on constructed rows.

    Parameters
    ----------
    subset : str
        As `subset_key` writes it.
    shown : {"all", "one"}
        Whether all modalities show the row's emotion, or one alone and the others are neutral.
    uar : float
        Of the answers to all of them.
    alone : mapping of str to float
        Of the answers to each modality of the same rows.
    """

    subset: str
    shown: str
    uar: float
    alone: Mapping[str, float]

    @property
    def gain(self) -> float:
        """What the fused answers are above those to the best modality, in UAR."""
        return self.uar - max(self.alone.values())


def fused_and_alone(model: nn.Module, materials: Sequence[Material], seed: int = 0) -> list[Fused]:
    """Every pair and triple of modalities, on development rows side by side.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    materials : sequence of Material
    seed : int
        Of the rows drawn.
    """
    draw = np.random.default_rng(seed)
    pools = {m: pool_of(m, materials, draw) for m in MODALITIES if any(x.modality == m for x in materials)}
    found = []
    for size in range(2, len(pools) + 1):
        for chosen in combinations(pools, size):
            labels, rows = side_by_side([pools[m][1] for m in chosen], draw)
            if not len(labels):
                continue
            calm = all((pools[m][1] == NEUTRAL).any() for m in chosen)
            for shown in ("all", "one") if calm else ("all",):
                if shown == "one":
                    rows = _one_alone([pools[m][1] for m in chosen], labels, rows, draw)
                places = dict(zip(chosen, rows, strict=True))
                tables = {m: pools[m][0] for m in chosen}
                alone = {m: figures(logits_of(model, {m: tables[m]}, {m: places[m]}), labels)["uar"] for m in chosen}
                uar = figures(logits_of(model, tables, places), labels)["uar"]
                found.append(Fused(subset_key(chosen), shown, uar, alone))
    return found


def _one_alone(
    pools: Sequence[NDArray[np.int64]],
    labels: NDArray[np.int64],
    rows: Sequence[NDArray[np.int64]],
    draw: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """The rows with all but one modality, drawn for each row, replaced by neutral ones."""
    shows = draw.integers(len(pools), size=len(labels))
    return [
        np.where(shows == place, own, draw.choice(np.flatnonzero(pool == NEUTRAL), len(labels)))
        for place, (pool, own) in enumerate(zip(pools, rows, strict=True))
    ]
