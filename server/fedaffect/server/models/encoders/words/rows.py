"""Lines that the words' encoder learns from: several corpora, without a line of any split that figures are read on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.corpora.base import Utterance
from fedaffect.client.corpora.registry import factory, folder_of, open_corpus
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.labels import CORPUS_LABELS, label_set
from fedaffect.server.models.alignment.material import OWN_WORDS, bare_words
from fedaffect.server.models.bundling.licences import PERMISSIVE, SHIPPABLE

LABELS: Final = "shared7"
TAUGHT: Final = ("goemotions", "xed", "isear", "dailydialog", "emobank")
# Judged on, never taught: devices learn MELD's lines in their federation, and nobody learns EmoryNLP's.
JUDGED: Final = ("meld", "emorynlp")
# GoEmotions' own names, finer than the seven.
FINER: Final = tuple(sorted(CORPUS_LABELS["goemotions"]))
_EMOTIONS: Final = frozenset({"shared7", "shared4"})
_RATED: Final = ("valence", "arousal")


@dataclass(frozen=True, slots=True)
class Lines:
    """N lines and what is known of each.

    Parameters
    ----------
    texts : tuple of str
    corpora : str array, shape (N,)
    votes : float32 array, shape (N, 7)
        Shares of the seven emotions; zeros where nobody named one.
    finer : float32 array, shape (N, 28)
        1 for each of ``FINER`` that somebody named; NaN where nobody was asked.
    ratings : float32 array, shape (N, 2)
        Valence and arousal, -1 to 1; NaN where nobody rated.
    """

    texts: tuple[str, ...]
    corpora: NDArray[np.str_]
    votes: NDArray[np.float32]
    finer: NDArray[np.float32]
    ratings: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)

    def groups(self) -> NDArray[np.int64]:
        """The most voted emotion of each line, (N,); one more than the last class where there are ratings alone."""
        groups: NDArray[np.int64] = self.votes.argmax(axis=1)
        groups[self.votes.sum(axis=1) == 0] = self.votes.shape[1]
        return groups


def teachers_of(licence: str) -> tuple[str, ...]:
    """Corpora that teach an encoder of ``permissive`` or ``non-commercial`` licence."""
    return tuple(name for name in TAUGHT if licence != PERMISSIVE or factory(name).info.licence in SHIPPABLE)


def read_taught(data_dir: Path, leave_out: str | None = None, teachers: Sequence[str] = TAUGHT) -> Lines:
    """Training lines of the corpora that teach.

    A line of three words or more is left out where it stands in a corpus that is judged on, in a development or test
    split of one that teaches, or twice in one corpus.

    Parameters
    ----------
    data_dir : Path
        Holds a folder of each corpus.
    leave_out : str, optional
        A corpus that teaches nothing, so that figures on it say what an unseen corpus gets.
    teachers : sequence of str
        As `teachers_of` gives them.

    Raises
    ------
    ConfigError
        If the corpus left out is none of them.
    DataError
        If a corpus is missing or cannot be read.
    """
    if leave_out is not None and leave_out not in teachers:
        raise ConfigError(f"{leave_out} does not teach the encoder of words; choose from {', '.join(teachers)}")
    read = {name: _utterances(name, data_dir) for name in teachers}
    held = {bare_words(_text(u)) for name in JUDGED for u in _utterances(name, data_dir)}
    for name, utterances in read.items():
        held |= {bare_words(_text(u)) for u in utterances if u.split != "train" or name == leave_out}
    seen: set[tuple[str, str]] = set()
    kept = []
    for name in teachers:
        for utterance in read[name]:
            words = bare_words(_text(utterance))
            long = len(words.split()) >= OWN_WORDS
            if utterance.split != "train" or name == leave_out or (long and (words in held or (name, words) in seen)):
                continue
            seen.add((name, words))
            kept.append((name, utterance))
    return _lines(kept)


def read_judged(name: str, data_dir: Path, splits: Iterable[str]) -> Lines:
    """Lines of some splits of a corpus that have one of the seven emotions."""
    chosen = set(splits)
    lines = _lines([(name, u) for u in _utterances(name, data_dir) if u.split in chosen])
    there = np.flatnonzero(lines.votes.sum(axis=1) > 0)
    return Lines(
        tuple(lines.texts[row] for row in there),
        lines.corpora[there],
        lines.votes[there],
        lines.finer[there],
        lines.ratings[there],
    )


def _utterances(name: str, data_dir: Path) -> list[Utterance]:
    return list(open_corpus(name, folder_of(name, data_dir)))


def _text(utterance: Utterance) -> str:
    return utterance.sample.text or ""


def _lines(rows: Sequence[tuple[str, Utterance]]) -> Lines:
    shared = label_set(LABELS)
    votes = np.zeros((len(rows), len(shared)), np.float32)
    finer = np.full((len(rows), len(FINER)), np.nan, np.float32)
    ratings = np.full((len(rows), len(_RATED)), np.nan, np.float32)
    # EmoBank's neutral is the middle of a scale, which nobody called an emotion.
    named = {name for name in {name for name, _ in rows} if {*factory(name).info.label_sets} & _EMOTIONS}
    for row, (name, utterance) in enumerate(rows):
        place = shared.index(utterance.label) if name in named else None
        if utterance.votes is not None:
            votes[row] = utterance.votes
        elif place is not None:
            votes[row, place] = 1
        if "emotions" in utterance.attributes:
            given = utterance.attributes["emotions"].split(",")
            finer[row] = [each in given for each in FINER]
        ratings[row] = [utterance.targets.get(each, np.nan) for each in _RATED]
    return Lines(
        tuple(_text(utterance) for _, utterance in rows),
        np.array([name for name, _ in rows], dtype=np.str_),
        votes,
        finer,
        ratings,
    )
