"""Public corpora that the server has: what it learns from between rounds (replay), and what guards a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.corpora.base import Utterance, require_labels
from fedaffect.client.corpora.folder import Folder
from fedaffect.client.corpora.registry import guess, names, open_corpus
from fedaffect.client.features.encoding import encode_corpus
from fedaffect.client.features.sequences import take_rows
from fedaffect.edge.bundle import default_bundle_path, keys_of
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import label_set
from fedaffect.edge.system.folders import cache_folder
from fedaffect.server.federation.guard import CHOOSING
from fedaffect.server.federation.run import ReadPublic
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.models.alignment.material import CORPORA, bare_words, shared_votes, splits_of
from fedaffect.server.starting_point import bundle_at

# Of one corpus. More would teach the fusion nothing new in the steps that it takes, and would fill the memory.
_MOST_REPLAYED: Final = 4000
_MOST_GUARDING: Final = 2000
# Where the corpus has no official split, every fifth person guards.
_HELD_OUT_EVERY: Final = 5
# A line this short is anybody's; a longer one that stands in two corpora is one line of one script.
_OWN_WORDS: Final = 3
_SMOOTHING: Final = 0.1
_SPLITS: Final = ("dev", "test")


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one corpus, already in the run's label set and encoded.

    N rows, C classes, R ratings of the run's, NaN where nobody rated; ``held_out`` are those that guard where the
    corpus is used for both, and ``chooses`` those by which a run would step back.
    """

    called: str
    tables: Mapping[str, TokenTable]
    labels: NDArray[np.int64]
    votes: NDArray[np.float32]
    ratings: NDArray[np.float32]
    held_out: NDArray[np.bool_]
    chooses: NDArray[np.bool_]
    words: Sequence[str] = field(default=())


def public_of(config: RunSettings) -> ReadPublic | None:
    """How a run's public data is read, by its settings; None where it has none."""
    if config.retention.replay or config.retention.guard:
        return partial(read_public, config)
    return None


def read_public(config: RunSettings, like: Cohort) -> Cohort:
    """A cohort of the public corpora: its first client holds what is replayed, and each guard's is a split.

    People who guard are never replayed: those whom a corpus holds out officially (of those that the default fusion
    was learned from, those whom it was not learned from), or else every fifth. A corpus that only guards and holds
    nobody out guards with everybody. Clips are encoded once, by the run's encoders, and kept in the cache.

    Parameters
    ----------
    config : RunSettings
    like : Cohort
        The run's own: its streams, widths and labels.

    Raises
    ------
    ConfigError
        If a corpus has none of the run's modalities or labels, or the encoders are others than the cohort's.
    DataError
        If a corpus cannot be read.
    """
    replayed = _sources(config.retention.replay or ())
    guarding = _sources(config.retention.guard or ()) or replayed
    parts = [
        _part(called, *source, config, like, alone=called not in replayed)
        for called, source in {**replayed, **guarding}.items()
    ]
    guards: dict[str, NDArray[np.int64]] = {}
    train: list[NDArray[np.int64]] = []
    held_words: set[str] = set()
    start = 0
    for part in parts:
        rows = np.arange(start, start + len(part.labels))
        start += len(rows)
        # Where nobody said who is to guard, corpora that hold nobody out do not.
        if part.called in guarding and (config.retention.guard or part.held_out.any()):
            choosing, judging = (rows[part.held_out & chosen] for chosen in (part.chooses, ~part.chooses))
            guards[part.called] = _thinned(judging, _MOST_GUARDING)
            guards[CHOOSING + part.called] = _thinned(choosing, _MOST_GUARDING)
            held_words |= {word for word, out in zip(part.words, part.held_out, strict=False) if out}
        if part.called in replayed:
            train.append(_thinned(rows[~part.held_out], _MOST_REPLAYED))
    words = np.array([word for part in parts for word in part.words or [""] * len(part.labels)])
    own = np.concatenate([np.zeros(0, np.int64), *train])
    repeated = np.array([words[row] in held_words and len(words[row].split()) >= _OWN_WORDS for row in own], bool)
    own = own[~repeated]
    if replayed and not len(own):
        raise ConfigError(f"{', '.join(replayed)} has nothing to replay that does not guard; give other --replay")
    return _joined(parts, own, guards, like)


def _sources(said: Sequence[str]) -> dict[str, tuple[str, Path | None]]:
    """Corpora, each with its folder; one's own clips are called as their folder is.

    Raises
    ------
    ConfigError
        If a name is that of no corpus, or given twice.
    DataError
        If a folder is not there or looks like no corpus.
    """
    found: dict[str, tuple[str, Path | None]] = {}
    for one in said:
        name, equals, folder = one.partition("=")
        if not equals and one in names() and not Path(one).is_dir():
            name, path = one, None
        else:
            path = Path(folder if equals else one).expanduser()
            name = name if equals else guess(path)
        called = name if path is None or name != Folder.info.name else path.name
        if called in found:
            raise ConfigError(f"{one[:80]} is a second {called}; give each corpus once")
        found[called] = name, path
    return found


def _part(called: str, name: str, folder: Path | None, config: RunSettings, like: Cohort, *, alone: bool) -> _Part:
    corpus, labels = open_corpus(name, folder), label_set(config.data.labels)
    require_labels(corpus.info)
    utterances = list(corpus)
    classes = np.array([-1 if (at := labels.index(u.label)) is None else at for u in utterances], np.int64)
    usual = (CORPORA[name],) if name in CORPORA else corpus.info.modalities
    modalities = [m for m in config.data.modalities if m in usual and m in like.widths]
    if not modalities or corpus.info.features_only:
        raise ConfigError(
            f"{name} is read for {', '.join(usual)}, and the run has {', '.join(config.data.modalities)}; leave it out"
        )
    tables = {}
    with bundle_at(Path(config.data.bundle or default_bundle_path()).expanduser()) as bundle:
        for modality in modalities:
            said = like.about.get("encoder_keys", {}).get(modality, ())
            here = {said} if isinstance(said, str) else set(said)
            if here and not here & keys_of(bundle.manifest.encoders[modality]):
                raise ConfigError(f"the run's {modality} encoder is not that of {bundle.path}; give its --bundle")
            encoder = bundle.encoder(modality, faces="whole" if corpus.info.faces == "whole" else "detect")
            tables[modality] = encode_corpus(corpus, utterances, modality, encoder, cache_folder()).table
    there = np.any([np.diff(table.offsets) > 0 for table in tables.values()], axis=0) & (classes >= 0)
    rows = np.flatnonzero(there)
    if not len(rows):
        raise ConfigError(f"no clip of {name} has a label of {labels.name} and {' or '.join(modalities)}; leave it out")
    kept = [utterances[row] for row in rows]
    held_out = _held_out(name, kept, alone=alone)
    votes = np.eye(len(labels), dtype=np.float32)[classes[rows]]
    if kept[0].votes is not None:
        votes = shared_votes(kept, label_set(corpus.info.label_set).labels, labels)
        votes = votes / np.maximum(votes.sum(1, keepdims=True), 1e-6)
    return _Part(
        called=called,
        tables={modality: take_rows(table, rows) for modality, table in tables.items()},
        labels=classes[rows],
        votes=(1 - _SMOOTHING) * votes + np.float32(_SMOOTHING / len(labels)),
        ratings=np.array([[u.targets.get(rated, np.nan) for rated in like.rating_names] for u in kept], np.float32),
        held_out=held_out,
        chooses=_chooses(name, kept, held_out),
        words=[bare_words(u.sample.text or "") for u in kept] if "text" in modalities else (),
    )


def _held_out(name: str, utterances: Sequence[Utterance], *, alone: bool) -> NDArray[np.bool_]:
    """Who guards, shape (N,): officially, or else every fifth person; everybody of a corpus that guards ``alone``."""
    splits = splits_of(name, utterances)
    if (splits != "train").any():
        return np.isin(splits, _SPLITS)
    people = np.array([u.client for u in utterances])
    known = np.unique(people)
    if alone or len(known) < _HELD_OUT_EVERY:
        return np.full(len(people), alone)
    return np.isin(people, known[::_HELD_OUT_EVERY])


def _chooses(name: str, utterances: Sequence[Utterance], held_out: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Who is to choose where they guard, shape (N,): the development split beside a test split, or every other person.

    The others judge. Of one person every other clip chooses.
    """
    splits = splits_of(name, utterances)
    if all((splits == split).any() for split in _SPLITS):
        return np.isin(splits, _SPLITS[:1])
    people = np.array([u.client for u in utterances])
    known = np.unique(people[held_out])
    return np.isin(people, known[1::2]) if len(known) > 1 else np.arange(len(people)) % 2 == 1


def _thinned(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of them, at equal distances."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _joined(
    parts: Sequence[_Part], own: NDArray[np.int64], guards: Mapping[str, NDArray[np.int64]], like: Cohort
) -> Cohort:
    """All parts under each other, with the streams of another cohort."""
    count = sum(len(part.labels) for part in parts)
    used = np.unique(np.concatenate([own, *guards.values()]))
    number = np.full(count, -1)
    number[used] = np.arange(len(used))
    tables = {stream: take_rows(_stacked(parts, stream, width), used) for stream, width in like.widths.items()}
    labels = np.concatenate([part.labels for part in parts])[used]
    if empty := [name for name, rows in guards.items() if not len(rows)]:
        called = empty[0].removeprefix(CHOOSING)
        raise DataError(f"{called} holds too few clips out to guard; give another --guard")
    return Cohort(
        tables=tables,
        present={stream: np.diff(table.offsets) > 0 for stream, table in tables.items()},
        labels=labels,
        train_labels=labels,
        client_offsets=np.array([0, len(own)], np.int64),
        client_rows=number[own],
        splits={name: number[rows] for name, rows in guards.items()},
        groups=np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts])[used],
        group_names=tuple(part.called for part in parts),
        client_names=("public data",),
        label_names=like.label_names,
        about={"corpora": [part.called for part in parts]},
        soft_labels=np.concatenate([part.votes for part in parts])[used],
        rating_names=like.rating_names,
        ratings=np.concatenate([part.ratings for part in parts])[used] if like.rating_names else None,
    )


def _stacked(parts: Sequence[_Part], stream: str, width: int) -> TokenTable:
    """One stream of all parts; a part that lacks it has rows without tokens."""
    lengths = [
        np.diff(part.tables[stream].offsets) if stream in part.tables else np.zeros(len(part.labels), np.int64)
        for part in parts
    ]
    tokens = [part.tables[stream].tokens for part in parts if stream in part.tables]
    return TokenTable(
        np.concatenate([np.zeros((0, width), np.float16), *tokens]),
        np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))]),
    )
