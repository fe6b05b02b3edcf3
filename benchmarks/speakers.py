"""Clips of people by corpus, for benchmarks of what one person or group gains."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import Sample
from fedaffect.server.models.alignment.material import splits_of

SHARED: Final = label_set("shared7")
_WORDS: Final = {"happiness": "joy", "surprised": "surprise"}
_FRIENDS: Final = ("Chandler", "Joey", "Monica", "Phoebe", "Rachel", "Ross")
# A sample, its label, and who speaks.
Clip = tuple[Sample, str, str]


def nemo(folder: Path) -> list[Clip]:
    """All of nEMO, in the order of its table; ids are file names."""
    with (folder / "data.tsv").open(encoding="utf-8", newline="") as table:
        return [
            (
                Sample(id=row["file_id"], audio=folder / "samples" / Path(row["file_id"]).with_suffix(".opus").name),
                _WORDS.get(row["emotion"], row["emotion"]),
                row["speaker_id"].strip(),
            )
            for row in csv.DictReader(table, delimiter="\t")
        ]


def ravdess(folder: Path, actors: Sequence[str]) -> list[Clip]:
    """Voices of some of RAVDESS's actors (``Actor_21``) whose label the shared label set has."""
    return [
        (Sample(id=u.sample.id, audio=u.sample.audio), u.label, u.speaker)
        for u in open_corpus("ravdess", folder)
        if u.speaker in actors and SHARED.index(u.label) is not None
    ]


def meld(folder: Path, split: str) -> list[Clip]:
    """Lines of the six friends in a split of MELD."""
    return [row for row in _lines("meld", folder, split) if row[2] in _FRIENDS]


def emorynlp(folder: Path, split: str) -> list[Clip]:
    """Lines of a split of EmoryNLP whose label the shared label set has."""
    return _lines("emorynlp", folder, split)


def _lines(name: str, folder: Path, split: str) -> list[Clip]:
    return [
        (Sample(id=u.sample.id, text=u.sample.text), u.label, u.speaker)
        for u in open_corpus(name, folder)
        if u.split == split and SHARED.index(u.label) is not None
    ]


def urdu(folder: Path) -> list[Clip]:
    """URDU's speakers from whom the default fusion was not learned."""
    utterances = list(open_corpus("urdu", folder))
    held_out = splits_of("urdu", utterances) == "dev"
    return [
        (Sample(id=u.sample.id, audio=u.sample.audio), u.label, u.speaker)
        for u, out in zip(utterances, held_out, strict=True)
        if out and SHARED.index(u.label) is not None
    ]
