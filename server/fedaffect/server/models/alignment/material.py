"""Rows of one corpus in one modality: features, soft labels over the shared classes, owners and splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import TokenTable
from fedaffect.client.corpora.base import Corpus, Utterance
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.client.features.encoding import encode_corpus
from fedaffect.edge.encoders.base import Encoder
from fedaffect.edge.errors import unknown_name
from fedaffect.edge.labels import LabelSet, label_set
from fedaffect.edge.system.folders import cache_folder

LABELS: Final = "shared7"
# Corpus to the modality that is taken from it.
CORPORA: Final[Mapping[str, str]] = MappingProxyType(
    {"ferplus": "video", "ravdess": "audio", "urdu": "audio", "nemo": "audio"}
    | dict.fromkeys(("meld", "emorynlp", "goemotions", "xed", "isear", "dailydialog"), "text")
)
# Nobody trains on these, on devices or in alignment: edge and cloud are compared on people new to both.
RAVDESS_DEV: Final = ("Actor_19", "Actor_20")
RAVDESS_TEST: Final = ("Actor_21", "Actor_22", "Actor_23", "Actor_24")
# More rows than this teach a fusion nothing new about features that were learned from all of them.
_MOST_TRAINING: Final[Mapping[str, int]] = MappingProxyType(
    {"ferplus": 12_000, "goemotions": 12_000, "xed": 12_000, "nemo": 1_500}
)
# Of URDU's speakers, every fifth is for development.
_URDU_DEV_EVERY: Final = 5
# Of nEMO's nine by name, the last three are tested, and the one before them is for development.
_NEMO_DEV, _NEMO_TEST = 5, 6
# A line this short is anybody's; a longer one that stands in two corpora is one line of one script.
OWN_WORDS: Final = 3
_LEAST_VOTES: Final = 0.2
# What corpora call a speaker of whom they say nothing.
_UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Material:
    """N rows of one corpus.

    Parameters
    ----------
    corpus, modality : str
    tables : tuple of TokenTable
        The rows as they are, then each constructed copy of all of them.
    labels : int64 array, shape (N,)
    votes : float32 array, shape (N, C)
        Shares of the annotators' votes, or one label's whole.
    owners : str array, shape (N,)
        Speaker, actor, or dialogue; empty for faces and single lines, of which nobody knows.
    splits : str array, shape (N,)
        ``train``, ``dev`` or ``test``; other rows take no part.
    words : tuple of str
        What is said, for corpora of words.
    """

    corpus: str
    modality: str
    tables: tuple[TokenTable, ...]
    labels: NDArray[np.int64]
    votes: NDArray[np.float32]
    owners: NDArray[np.str_]
    splits: NDArray[np.str_]
    words: tuple[str, ...] = ()

    def of_split(self, split: str) -> NDArray[np.int64]:
        """Rows of one split."""
        return np.flatnonzero(self.splits == split)


class Thinned(Corpus):
    """A corpus with some of its training utterances, taken at equal distances; all others stay.

    Parameters
    ----------
    corpus : Corpus
        The whole one.
    training : int
        How many training utterances stay at most.
    """

    def __init__(self, corpus: Corpus, training: int) -> None:
        self.info = corpus.info
        self._corpus = corpus
        self._training = training

    def __iter__(self) -> Iterator[Utterance]:
        total = sum(1 for u in self._corpus if u.split == "train")
        share = min(1.0, self._training / max(total, 1))
        seen = 0
        for utterance in self._corpus:
            if utterance.split == "train":
                seen += 1
                if int(seen * share) == int((seen - 1) * share):
                    continue
            yield utterance

    def fingerprint(self) -> str:
        """Of the whole corpus, and how many stay."""
        return sha256(f"{self._corpus.fingerprint()}\nthinned {self._training}".encode()).hexdigest()


def read_material(
    corpus: str, data_dir: Path, encoders: Sequence[Encoder], progress: bool = True, cache: Path | None = None
) -> Material:
    """Read a corpus and encode it, as it is and in copies.

    Parameters
    ----------
    corpus : str
        A key of ``CORPORA``.
    data_dir : Path
        Its folder.
    encoders : sequence of Encoder
        The modality's own, and one for each constructed copy.
    progress : bool
        Show a bar where there is a terminal.
    cache : Path, optional
        Root of the feature cache.

    Raises
    ------
    ConfigError
        If it is another corpus.
    DataError
        If it cannot be read.
    """
    if corpus not in CORPORA:
        raise unknown_name("corpus of emotions that are shared", corpus, CORPORA)
    opened: Corpus = open_corpus(corpus, data_dir)
    if corpus in _MOST_TRAINING:
        opened = Thinned(opened, _MOST_TRAINING[corpus])
    utterances = list(opened)
    modality, shared = CORPORA[corpus], label_set(LABELS)
    labels = np.array([-1 if (place := shared.index(u.label)) is None else place for u in utterances], np.int64)
    where = cache or cache_folder()
    tables = tuple(encode_corpus(opened, utterances, modality, e, where, progress).table for e in encoders)
    votes = np.eye(len(shared), dtype=np.float32)[np.maximum(labels, 0)]
    if len(voted := np.flatnonzero([u.votes is not None for u in utterances])):
        given = shared_votes([utterances[row] for row in voted], label_set(opened.info.label_set).labels, shared)
        # More than four fifths for an emotion that is not shared says little about those that are.
        labels[voted] = np.where(given.sum(1) < _LEAST_VOTES, -1, labels[voted])
        votes[voted] = given / np.maximum(given.sum(1, keepdims=True), 1e-6)
    splits = splits_of(corpus, utterances)
    there = (labels >= 0) & (np.diff(tables[0].offsets) > 0)
    return Material(
        corpus=corpus,
        modality=modality,
        tables=tables,
        labels=labels,
        votes=votes.astype(np.float32),
        owners=np.array([_owner(u) for u in utterances], dtype=np.str_),
        splits=np.where(there, splits, ""),
        words=tuple(u.sample.text or "" for u in utterances) if modality == "text" else (),
    )


def shared_votes(utterances: Sequence[Utterance], names: Sequence[str], shared: LabelSet) -> NDArray[np.float32]:
    """Votes moved from a corpus's own labels to shared ones, shape (N, C); rows may sum to less than 1.

    Parameters
    ----------
    utterances : sequence of Utterance
        Of a corpus with votes.
    names : sequence of str
        The corpus's own labels.
    shared : LabelSet
    """
    own = np.array([u.votes for u in utterances], dtype=np.float32)  # (N, names)
    votes = np.zeros((len(own), len(shared)), np.float32)
    for place, name in enumerate(names):
        if (to := shared.index(name)) is not None:
            votes[:, to] += own[:, place]
    return votes


def _owner(utterance: Utterance) -> str:
    owner = utterance.dialogue or utterance.speaker
    return "" if owner == _UNKNOWN else owner


def splits_of(corpus: str, utterances: Sequence[Utterance]) -> NDArray[np.str_]:
    """Train, dev or test of each utterance, shape (N,), as the models that this project ships divide a corpus."""
    rule = _RULES.get(corpus)
    if rule is None:
        return np.array([u.split for u in utterances], dtype="<U5")
    return rule(np.array([u.speaker for u in utterances], dtype=np.str_))


def _ravdess(speakers: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.where(np.isin(speakers, RAVDESS_TEST), "test", np.where(np.isin(speakers, RAVDESS_DEV), "dev", "train"))


def _urdu(speakers: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.where(np.isin(speakers, np.unique(speakers)[::_URDU_DEV_EVERY]), "dev", "train")


def _nemo(speakers: NDArray[np.str_]) -> NDArray[np.str_]:
    _, place = np.unique(speakers, return_inverse=True)
    return np.where(place >= _NEMO_TEST, "test", np.where(place >= _NEMO_DEV, "dev", "train"))


_RULES: Mapping[str, Callable[[NDArray[np.str_]], NDArray[np.str_]]] = {
    "ravdess": _ravdess,
    "urdu": _urdu,
    "nemo": _nemo,
}


def without_repeats(materials: Sequence[Material], *, keep: str | None = None) -> list[Material]:
    """Materials whose training lines stand nowhere among lines that are held out.

    MELD and EmoryNLP are scripts of one series, and share lines. A training line of three words or more is dropped
    where any material has it in its development or test split; with ``keep``, where that corpus has it in any split.

    Parameters
    ----------
    materials : sequence of Material
    keep : str, optional
        A corpus that is held out whole.
    """
    held: set[str] = set()
    for one in materials:
        out = np.isin(one.splits, ("dev", "test")) | (one.corpus == keep)
        held |= {bare_words(one.words[row]) for row in np.flatnonzero(out)} if one.words else set()
    return [_without(one, held) if one.words and one.corpus != keep else one for one in materials]


def _without(material: Material, held: set[str]) -> Material:
    repeated = np.array([(b := bare_words(w)) in held and len(b.split()) >= OWN_WORDS for w in material.words])
    return replace(material, splits=np.where(repeated & (material.splits == "train"), "", material.splits))


def bare_words(words: str) -> str:
    """Words without case and signs, by which lines are compared."""
    return " ".join(re.findall(r"[a-z']+", words.lower()))
