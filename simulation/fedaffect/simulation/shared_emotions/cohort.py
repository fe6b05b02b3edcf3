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
from fedaffect.simulation.shared_emotions.clients import ClientData, Place, Row, label_of, mixed_rows
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
    labels = np.array([label_of(key, materials) for key in keys], np.int64)
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
        about={"dataset": "shared", **asdict(config), "constructed": "pairs, triples and films; varied copies"},
        soft_labels=np.stack([_soft(key, materials, config.smoothing) for key in keys]),
    )


def split_rows(materials: Sequence[Material], seed: int) -> dict[str, list[Row]]:
    """Rows of ``dev``, some of each corpus and constructed ones; of ``test``; and of its view of each corpus."""
    draw = np.random.default_rng(seed)
    dev: list[Row] = []
    singles: dict[str, list[tuple[Place, ...]]] = {}
    test: dict[str, list[Row]] = {}
    for number, material in enumerate(materials):
        there = draw.permutation(material.of_split("dev"))[:_DEV_ROWS]
        places = [(Place(number, 0, int(row)),) for row in there]
        singles.setdefault(material.modality, []).extend(places)
        dev += [{material.modality: one} for one in places]
        if len(tested := material.of_split("test")):
            test[f"test-{material.corpus}"] = [{material.modality: (Place(number, 0, int(row)),)} for row in tested]
    dev += mixed_rows(singles, materials, _MIXED_DEV_ROWS, draw)
    return {"dev": dev, "test": [row for view in test.values() for row in view], **test}


def _key(row: Row) -> tuple[Place, ...]:
    return tuple(sorted(place for places in row.values() for place in places))


def _owner(key: tuple[Place, ...], materials: Sequence[Material]) -> str:
    first = materials[key[0].material]
    return f"{first.corpus}/{first.owners[key[0].row]}"


def _soft(key: tuple[Place, ...], materials: Sequence[Material], smoothing: Mapping[str, float]) -> NDArray[np.float32]:
    """Mean of the votes of places that show what the row shows, each smoothed as its corpus says, shape (C,)."""
    votes = []
    label = label_of(key, materials)
    for place in key:
        material = materials[place.material]
        if material.labels[place.row] != label:
            continue
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
    parts = [(n, p) for n, key in enumerate(keys) for p in key if materials[p.material].modality == modality]
    row_of = np.array([number for number, _ in parts], np.int64)
    at = np.array([(p.material, p.copy, p.row) for _, p in parts], np.int64).reshape(-1, 3)
    tables = {
        (m, c): t for m, one in enumerate(materials) if one.modality == modality for c, t in enumerate(one.tables)
    }
    from_table = {(m, c): (at[:, 0] == m) & (at[:, 1] == c) for m, c in tables}
    starts, lengths = np.zeros(len(parts), np.int64), np.zeros(len(parts), np.int64)
    for source, there in from_table.items():
        rows = at[there, 2]
        starts[there], lengths[there] = tables[source].offsets[rows], tables[source].lengths(rows)
    # One entry a token: the part it is of, its place in that part's table, and its place in the row.
    of_part = np.repeat(np.arange(len(parts)), lengths)
    ends = np.cumsum(lengths)
    inside = np.arange(len(of_part)) - np.repeat(ends - lengths, lengths)
    first = np.searchsorted(row_of[of_part], np.arange(len(keys)))
    in_row = np.arange(len(of_part)) - first[row_of[of_part]]
    kept = (row_of[of_part] >= trained) | (in_row < most)
    of_part, inside = of_part[kept], inside[kept]
    tokens = np.zeros((len(of_part), next(iter(tables.values())).width), np.float16)
    for source, there in from_table.items():
        wanted = np.flatnonzero(there[of_part])
        tokens[wanted] = tables[source].tokens[starts[of_part[wanted]] + inside[wanted]]
    counts = np.bincount(row_of[of_part], minlength=len(keys))
    return TokenTable(tokens, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))
