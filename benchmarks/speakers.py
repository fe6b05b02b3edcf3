"""Clips of people by corpus, for benchmarks of what one person or group gains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.corpora.base import Utterance
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import Sample
from fedaffect.server.models.alignment.material import splits_of

SHARED: Final = label_set("shared7")
_NEMO_DEV: Final = 6
_FRIENDS: Final = ("Chandler", "Joey", "Monica", "Phoebe", "Rachel", "Ross")
# A sample, its label, and who speaks.
Clip = tuple[Sample, str, str]
Own = TypeVar("Own")


def nemo(folder: Path) -> list[Clip]:
    """Voices of nEMO, in the order of its table."""
    return _voices(open_corpus("nemo", folder))


def nemo_people(people: Mapping[str, Own], *, test: bool) -> dict[str, Own]:
    """Those of nEMO's speakers for development, who are the first six by name, or those for the test."""
    names = sorted(people)
    return {name: people[name] for name in (names[_NEMO_DEV:] if test else names[:_NEMO_DEV])}


def ravdess(folder: Path, actors: Sequence[str]) -> list[Clip]:
    """Voices of some of RAVDESS's actors (``Actor_21``) whose label the shared label set has."""
    return _voices(u for u in open_corpus("ravdess", folder) if u.speaker in actors)


def meld(folder: Path, split: str) -> list[Clip]:
    """Lines of the six friends in a split of MELD."""
    return [row for row in lines("meld", folder, split) if row[2] in _FRIENDS]


def emorynlp(folder: Path, split: str) -> list[Clip]:
    """Lines of a split of EmoryNLP whose label the shared label set has."""
    return lines("emorynlp", folder, split)


def lines(name: str, folder: Path, split: str) -> list[Clip]:
    """Lines of a split of a corpus whose label the shared label set has."""
    return [
        (Sample(id=u.sample.id, text=u.sample.text), u.label, u.speaker)
        for u in open_corpus(name, folder)
        if u.split == split and SHARED.index(u.label) is not None
    ]


def urdu(folder: Path) -> list[Clip]:
    """URDU's speakers from whom the default fusion was not learned."""
    utterances = list(open_corpus("urdu", folder))
    held_out = splits_of("urdu", utterances) == "dev"
    return _voices(u for u, out in zip(utterances, held_out, strict=True) if out)


def _voices(utterances: Iterable[Utterance]) -> list[Clip]:
    """Sounds whose label the shared label set has."""
    return [
        (Sample(id=u.sample.id, audio=u.sample.audio), u.label, u.speaker)
        for u in utterances
        if SHARED.index(u.label) is not None
    ]


def by_person(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Each person's clips in their order, people in that of their names."""
    people: dict[str, list[Clip]] = {}
    for clip in clips:
        people.setdefault(clip[2], []).append(clip)
    return {name: people[name] for name in sorted(people)}


def classes_of(clips: Iterable[Clip]) -> NDArray[np.int64]:
    """True classes, shape (N,)."""
    return np.array([SHARED.index(label) for _, label, _ in clips], dtype=np.int64)


def uar(said: NDArray[np.int64], meant: NDArray[np.int64]) -> float:
    """Recall averaged over the classes that are there, of answers and true classes of shape (N,)."""
    return float(np.mean([(said[meant == one] == one).mean() for one in np.unique(meant)]))


def uar_of(probabilities: NDArray[np.float64], clips: Iterable[Clip]) -> float:
    """The same of a model's probabilities, shape (N, C)."""
    return uar(probabilities.argmax(axis=1), classes_of(clips))
