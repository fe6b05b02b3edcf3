"""Who holds what: each client one speaker's voice, a share of faces, and whole dialogues of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.server.models.alignment.material import Material
from fedaffect.simulation.shared_emotions.settings import SharedConfig

# Where no voices take part.
_WITHOUT_VOICES: Final = 24
_MIXES: Final = (("text", "audio"), ("audio", "video"), ("text", "video"), ("text", "audio", "video"))


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One row of one table: which material, which copy of it, which row."""

    material: int
    copy: int
    row: int


@dataclass(frozen=True, slots=True)
class ClientData:
    """What one client trains on in a round.

    Parameters
    ----------
    name : str
    rows : list of dict of str to Place
        Modality to place; with more than one modality the row is constructed. A row may stand more than once.
    """

    name: str
    rows: list[dict[str, Place]]


def client_data(materials: Sequence[Material], config: SharedConfig) -> list[ClientData]:
    """Divide training rows among clients and weigh them.

    Parameters
    ----------
    materials : sequence of Material
        Of the corpora in training.
    config : SharedConfig

    Returns
    -------
    list of ClientData
        One a client. Within each modality rare classes and small corpora are repeated, as ``evenness`` and
        ``most_repeats`` say; constructed rows put the client's own rows of equal label side by side.
    """
    draw = np.random.default_rng(config.seed)
    speakers = _speakers(materials, config)
    names = list(speakers)
    shares = [_shares(material, speakers, draw) for material in materials]
    class_weights = _class_weights(materials, config.evenness)
    found = []
    for client, name in enumerate(names):
        singles: dict[str, list[Place]] = {}
        for modality in sorted({m.modality for m in materials}):
            places = [
                Place(number, copy, int(row))
                for number, material in enumerate(materials)
                if material.modality == modality
                for copy in range(len(material.tables))
                for row in shares[number][client]
            ]
            if places:
                wanted = round(config.rows_a_client * config.times_rows.get(modality, 1))
                singles[modality] = _sampled(places, wanted, materials, class_weights, config, draw)
        rows = [{modality: place} for modality, places in singles.items() for place in places]
        wanted = round(config.mixed_share * len(rows))
        found.append(ClientData(name, rows + mixed_rows(singles, materials, wanted, draw)))
    return found


def mixed_rows(
    singles: dict[str, list[Place]], materials: Sequence[Material], wanted: int, draw: np.random.Generator
) -> list[dict[str, Place]]:
    """Constructed pairs and triples: rows of several modalities whose labels are equal."""
    by_label = {
        modality: _grouped([int(materials[p.material].labels[p.row]) for p in places])
        for modality, places in singles.items()
    }
    mixes = [mix for mix in _MIXES if all(modality in singles for modality in mix)]
    rows: list[dict[str, Place]] = []
    for number in range(wanted if mixes else 0):
        mix = mixes[number % len(mixes)]
        labels = sorted(set.intersection(*(set(by_label[modality]) for modality in mix)))
        if labels:
            label = labels[int(draw.integers(len(labels)))]
            rows.append({m: singles[m][int(draw.choice(by_label[m][label]))] for m in mix})
    return rows


def _grouped(labels: Sequence[int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        groups.setdefault(label, []).append(place)
    return groups


def _speakers(materials: Sequence[Material], config: SharedConfig) -> dict[str, frozenset[str]]:
    """Whose voices each client has, as corpus and speaker; clients without voices where no corpus has any."""
    found: dict[str, frozenset[str]] = {}
    for material in materials:
        if material.modality == "audio":
            owners = np.unique(material.owners[material.of_split("train")]).tolist()
            together = config.speakers_a_client.get(material.corpus, 1)
            for start in range(0, len(owners), together):
                names = [f"{material.corpus}/{owner}" for owner in owners[start : start + together]]
                found["+".join(names)] = frozenset(names)
    return found or {f"client-{number:02d}": frozenset() for number in range(_WITHOUT_VOICES)}


def _shares(
    material: Material, speakers: Mapping[str, frozenset[str]], draw: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Training rows of each client: its own speakers', whole dialogues, or faces and lines that are nobody's."""
    rows = material.of_split("train")
    if material.modality == "audio":
        names = [f"{material.corpus}/{owner}" for owner in material.owners[rows]]
        return [rows[[name in own for name in names]] for own in speakers.values()]
    if not material.owners[rows].any():
        return [np.sort(share) for share in np.array_split(draw.permutation(rows), len(speakers))]
    dialogues, of_row = np.unique(material.owners[rows], return_inverse=True)
    client = draw.permutation(len(dialogues)) % len(speakers)
    return [rows[client[of_row] == place] for place in range(len(speakers))]


def _sampled(
    places: list[Place],
    wanted: int,
    materials: Sequence[Material],
    class_weights: Sequence[NDArray[np.float64]],
    config: SharedConfig,
    draw: np.random.Generator,
) -> list[Place]:
    """As many rows as asked for, each near its expected number of times: systematic resampling."""
    weights = np.array([class_weights[p.material][materials[p.material].labels[p.row]] for p in places])
    size = min(wanted, int(config.most_repeats * len(places)))
    expected = np.cumsum(weights / weights.sum() * size)
    chosen = np.searchsorted(expected, np.arange(size) + draw.random(), side="right")
    return [places[min(int(place), len(places) - 1)] for place in chosen]


def _class_weights(materials: Sequence[Material], evenness: float) -> list[NDArray[np.float64]]:
    """Weight of a row of each class, by material; what is rare weighs more."""
    classes = materials[0].votes.shape[1]
    counts = [np.bincount(m.labels[m.of_split("train")], minlength=classes) for m in materials]
    return [np.maximum(count, 1.0) ** -evenness for count in counts]
