"""From materials and who holds what to the cohort that a federation learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.models.alignment.material import LABELS, Material
from fedaffect.simulation.shared_emotions.clients import ClientData, Place, mixed_rows
from fedaffect.simulation.shared_emotions.settings import SharedConfig

# Of each corpus at most this many rows are in the development split, so that none decides alone.
_DEV_ROWS: Final = 400
_MIXED_DEV_ROWS: Final = 600


def build_cohort(materials: Sequence[Material], held: Sequence[ClientData], config: SharedConfig) -> Cohort:
    """Put rows into arrays; each place of a material comes once, however often clients hold it.

    Parameters
    ----------
    materials : sequence of Material
        Of the corpora in training.
    held : sequence of ClientData
        One a client.
    config : SharedConfig

    Returns
    -------
    Cohort
        With ``dev`` and ``test``, and a view ``test-<corpus>`` of each corpus's test split.
    """
    rows: dict[tuple[Place, ...], int] = {}
    client_rows: list[int] = []
    offsets = [0]
    for client in held:
        client_rows += [rows.setdefault(_key(row), len(rows)) for row in client.rows]
        offsets.append(len(client_rows))
    trained = len(rows)
    splits = {
        name: np.array([rows.setdefault(_key(row), len(rows)) for row in wanted], np.int64)
        for name, wanted in split_rows(materials, config.seed).items()
    }
    keys = list(rows)
    labels = np.array([_label(key, materials) for key in keys], np.int64)
    owners = [_owner(key, materials) for key in keys]
    group_names, groups = np.unique(np.array(owners, dtype=np.str_), return_inverse=True)
    tables = _tables(keys, materials, trained, config.most_tokens)
    return Cohort(
        tables=tables,
        present={name: np.diff(table.offsets) > 0 for name, table in tables.items()},
        labels=labels,
        train_labels=labels,
        client_offsets=np.array(offsets, np.int64),
        client_rows=np.array(client_rows, np.int64),
        splits=splits,
        groups=groups.astype(np.int64),
        group_names=tuple(str(name) for name in group_names),
        client_names=tuple(client.name for client in held),
        label_names=label_set(LABELS).labels,
        about={"dataset": "shared", **asdict(config), "constructed": "pairs and triples of equal label; varied copies"},
        soft_labels=np.stack([_soft(key, materials, config.smoothing) for key in keys]),
    )


def split_rows(materials: Sequence[Material], seed: int) -> dict[str, list[dict[str, Place]]]:
    """Rows of ``dev``, some of each corpus and constructed ones; of ``test``; and of its view of each corpus."""
    draw = np.random.default_rng(seed)
    dev: list[dict[str, Place]] = []
    singles: dict[str, list[Place]] = {}
    test: dict[str, list[dict[str, Place]]] = {}
    for number, material in enumerate(materials):
        there = draw.permutation(material.of_split("dev"))[:_DEV_ROWS]
        places = [Place(number, 0, int(row)) for row in there]
        singles.setdefault(material.modality, []).extend(places)
        dev += [{material.modality: place} for place in places]
        if len(tested := material.of_split("test")):
            test[f"test-{material.corpus}"] = [{material.modality: Place(number, 0, int(row))} for row in tested]
    dev += mixed_rows(singles, materials, _MIXED_DEV_ROWS, draw)
    return {"dev": dev, "test": [row for view in test.values() for row in view], **test}


def _key(row: Mapping[str, Place]) -> tuple[Place, ...]:
    return tuple(sorted(row.values()))


def _label(key: tuple[Place, ...], materials: Sequence[Material]) -> int:
    return int(materials[key[0].material].labels[key[0].row])


def _owner(key: tuple[Place, ...], materials: Sequence[Material]) -> str:
    first = materials[key[0].material]
    return f"{first.corpus}/{first.owners[key[0].row]}"


def _soft(key: tuple[Place, ...], materials: Sequence[Material], smoothing: Mapping[str, float]) -> NDArray[np.float32]:
    """Mean over modalities of the votes, each smoothed as its corpus says, shape (C,)."""
    votes = []
    for place in key:
        material = materials[place.material]
        given = material.votes[place.row]
        mass = smoothing[material.corpus]
        votes.append((1 - mass) * given + mass / len(given))
    mean: NDArray[np.float32] = np.mean(votes, axis=0).astype(np.float32)
    return mean


def _tables(
    keys: Sequence[tuple[Place, ...]], materials: Sequence[Material], trained: int, most: Mapping[str, int]
) -> dict[str, TokenTable]:
    there = [modality for modality in MODALITIES if any(material.modality == modality for material in materials)]
    return {modality: _table(modality, keys, materials, trained, most[modality]) for modality in there}


def _table(
    modality: str, keys: Sequence[tuple[Place, ...]], materials: Sequence[Material], trained: int, most: int
) -> TokenTable:
    """Tokens of one modality for each row; rows without it have none, the first ``trained`` rows ``most`` at most."""
    at = np.full((len(keys), 3), -1, np.int64)
    for number, key in enumerate(keys):
        for place in key:
            if materials[place.material].modality == modality:
                at[number] = place.material, place.copy, place.row
    sources = [(m, c) for m, material in enumerate(materials) for c in range(len(material.tables))]
    chosen = {(m, c): np.flatnonzero((at[:, 0] == m) & (at[:, 1] == c)) for m, c in sources}
    lengths = np.zeros(len(keys), np.int64)
    for (m, c), rows in chosen.items():
        if len(rows):
            lengths[rows] = materials[m].tables[c].lengths(at[rows, 2])
    lengths[:trained] = np.minimum(lengths[:trained], most)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    width = next(material.tables[0].width for material in materials if material.modality == modality)
    tokens = np.zeros((int(offsets[-1]), width), np.float16)
    for (m, c), rows in chosen.items():
        table, wanted = materials[m].tables[c], lengths[rows]
        if len(rows):
            steps = np.arange(int(wanted.sum())) - np.repeat(np.cumsum(wanted) - wanted, wanted)
            from_here = np.repeat(table.offsets[at[rows, 2]], wanted) + steps
            tokens[np.repeat(offsets[rows], wanted) + steps] = table.tokens[from_here]
    return TokenTable(tokens, offsets)
