"""A corpus as columns, read once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.corpora.base import Corpus, Utterance, require_labels
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import LabelSet, label_set
from fedaffect.simulation.partition.rows import Rows

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Columns:
    """Every utterance of a corpus, those outside the label set too, because they are somebody's past.

    Parameters
    ----------
    utterances : list of Utterance
        N of them.
    rows : Rows
        Labels are -1 outside the label set.
    dialogues, turns, speakers : int64 arrays, shape (N,)
        For context; a dialogue is below 0 for none.
    soft_labels : float32 array, shape (N, C), optional
        Annotators' votes over the label set.
    ratings : float32 array, shape (N, R), optional
        Those that were asked for; NaN where there is none.
    """

    utterances: list[Utterance]
    rows: Rows
    dialogues: NDArray[np.int64]
    turns: NDArray[np.int64]
    speakers: NDArray[np.int64]
    soft_labels: NDArray[np.float32] | None
    ratings: NDArray[np.float32] | None = None

    def has(self, modality: str) -> NDArray[np.bool_]:
        """Which utterances come with a modality, shape (N,); of features where the corpus brings those."""
        return np.array(
            [
                u.features.get(modality) is not None
                if u.features is not None
                else getattr(u.sample, modality) is not None
                for u in self.utterances
            ],
            dtype=bool,
        )


def read_columns(corpus: Corpus, labels: LabelSet | None, ratings: Sequence[str] = ()) -> Columns:
    """Read a corpus's utterances; no media is opened.

    Parameters
    ----------
    corpus : Corpus
    labels : LabelSet, optional
        Without it nobody's labels are looked at, and a corpus needs none.
    ratings : sequence of str
        Names of R ratings that are learned beside the class.

    Raises
    ------
    DataError
        If it has none.
    ConfigError
        If the corpus has no labels, none of the set, or nobody rated what is asked for.
    """
    if labels is not None:
        require_labels(corpus.info)
    utterances = list(corpus)
    if not utterances:
        raise DataError(
            f"no utterances of {corpus.info.name} in {getattr(corpus, 'data_dir', 'it')}; expected {corpus.info.needs}"
        )
    if other := next((u for u in utterances if not isinstance(u, Utterance)), None):
        raise DataError(
            f"corpus {corpus.info.name} gives a {type(other).__name__} where a fedaffect.client.Utterance is wanted; "
            f"docs/plugins.md has the contract"
        )
    classes = np.full(len(utterances), -1, np.int64)
    if labels is not None:
        classes = np.array([_class(labels, u.label) for u in utterances], dtype=np.int64)
    if labels is not None and (classes < 0).all():
        raise ConfigError(
            f"no utterance of {corpus.info.name} has a label of {labels.name}; use one of "
            f"{', '.join(corpus.info.label_sets)}"
        )
    # Pictures of unknown people have one owner together: per-owner figures of single pictures would say nothing.
    kind = corpus.info.client
    owner_names, owners = _codes(["unknown"] * len(utterances) if kind == "image" else [u.client for u in utterances])
    speaker_names, speakers = _codes([u.speaker for u in utterances])
    dialogue_names, dialogues = _codes([u.dialogue or "" for u in utterances])
    if dialogue_names[0] == "":
        dialogues = dialogues - 1
    return Columns(
        utterances=utterances,
        rows=Rows(
            labels=classes,
            splits=np.array([u.split for u in utterances]),
            owners=owners,
            owner_names=owner_names,
            owner_kind=kind,
            label_names=labels.labels if labels is not None else (),
            attributes={**_attributes(utterances), "speaker": np.array(speaker_names)[speakers]},
        ),
        dialogues=dialogues,
        turns=np.array([u.turn for u in utterances], dtype=np.int64),
        speakers=speakers,
        soft_labels=_votes(corpus, utterances, labels) if labels is not None else None,
        ratings=_rated(corpus, utterances, ratings) if ratings else None,
    )


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key under which ``actor 2`` comes before ``actor 10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(name) if part]


def _class(labels: LabelSet, label: str) -> int:
    index = labels.index(label)
    return -1 if index is None else index


def _codes(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    known = tuple(sorted(set(names), key=lambda name: (natural_key(name), name)))
    number = {name: index for index, name in enumerate(known)}
    return known, np.array([number[name] for name in names], dtype=np.int64)


def _attributes(utterances: Sequence[Utterance]) -> dict[str, NDArray[np.str_]]:
    names = sorted({name for u in utterances for name in u.attributes})
    return {name: np.array([u.attributes.get(name, "") for u in utterances]) for name in names}


def _rated(corpus: Corpus, utterances: Sequence[Utterance], names: Sequence[str]) -> NDArray[np.float32]:
    """Ratings, shape (N, R)."""
    rated = np.array([[u.targets.get(name, np.nan) for name in names] for u in utterances], np.float32)
    if nobody := [name for name, column in zip(names, rated.T, strict=True) if np.isnan(column).all()]:
        known = sorted({name for u in utterances for name in u.targets})
        has = f"has {', '.join(known)}" if known else "has no ratings"
        raise ConfigError(f"nobody rated {nobody[0]} in {corpus.info.name}, which {has}; choose other --targets")
    return rated


def _votes(corpus: Corpus, utterances: Sequence[Utterance], labels: LabelSet) -> NDArray[np.float32] | None:
    """Votes moved from the corpus's own label set to the one in use; rows sum to 1."""
    if not any(u.votes for u in utterances):
        return None
    own = label_set(corpus.info.label_set)
    columns = [_class(labels, label) for label in own.labels]
    given = np.array([u.votes or [0.0] * len(own) for u in utterances], dtype=np.float32)
    votes = np.zeros((len(utterances), len(labels)), np.float32)
    for column, target in enumerate(columns):
        if target >= 0:
            votes[:, target] += given[:, column]
    # Without a vote within the set, the label alone.
    classes = np.array([_class(labels, u.label) for u in utterances])
    bare = np.flatnonzero((votes.sum(axis=1) == 0) & (classes >= 0))
    votes[bare, classes[bare]] = 1.0
    sums = votes.sum(axis=1, keepdims=True)
    divided: NDArray[np.float32] = np.divide(votes, sums, out=np.zeros_like(votes), where=sums > 0)
    return divided
