"""From settings to a cohort: the one folder that everything that learns reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.corpora.base import Corpus
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.client.dialogues import Dialogues
from fedaffect.client.features.cache import reporting_disk
from fedaffect.client.features.sequences import take_rows, with_rows
from fedaffect.client.targets import rating_names
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import LabelSet, label_set
from fedaffect.edge.system.folders import cache_folder
from fedaffect.edge.system.progress import working
from fedaffect.server.federation.settings import FINE_TUNED, RunSettings
from fedaffect.server.models.fine_tuning.limits import Limits
from fedaffect.simulation.partition.label_noise import flip_labels, read_matrix, transitions
from fedaffect.simulation.partition.missing import drop_modalities
from fedaffect.simulation.partition.registry import is_own, parse, partition
from fedaffect.simulation.partition.rows import Partition, Rows
from fedaffect.simulation.preparing.columns import Columns, read_columns
from fedaffect.simulation.preparing.sharing import share_tables
from fedaffect.simulation.preparing.splits import assign_splits, extra_views
from fedaffect.simulation.preparing.streams import CONTEXT, Sources, has_tokens, make_streams, open_media, open_sources

# Raised whenever the same settings would give another cohort.
_EDITION = 3


def prepare(config: RunSettings, progress: bool = True, *, ensure_bundle: Callable[[], Path] | None = None) -> Path:
    """Make the cohort of a run, or find it where the same settings made it before.

    Features are encoded once a corpus and encoder; normalising by client and the context stream come next, over all
    utterances, then the label set, splits, partition, missing modalities and label noise.

    Parameters
    ----------
    config : RunSettings
        Settings of the run.
    progress : bool
        Show progress on standard error, and where that is a terminal what was left out.
    ensure_bundle : callable, optional
        Builds the edge bundle where it is not there and returns its folder.

    Returns
    -------
    Path
        A folder for `Cohort.load`, under ``cohorts`` in the cache.

    Raises
    ------
    FedAffectError
        If the settings do not fit the corpus, or something of it cannot be read.
    """
    labels = label_set(config.data.labels)
    parse(config.data.partition)
    matrix = _noise_matrix(config, labels)
    corpus = open_corpus(config.data.dataset, config.data.data_dir)
    if corpus.info.fixed_splits and config.evaluation.folds:
        raise ConfigError(f"folds would put the same material of {corpus.info.name} on both sides; leave out --folds")
    sources = _sources(config, corpus, ensure_bundle)
    # Other people's code may change under the same name, so that what it answers decides the cohort too.
    divided = None if is_own(config.data.partition) else _divide(config, corpus, labels, progress)
    settings = _settings(config, sources, matrix)
    if divided is not None:
        settings["division"] = divided[2].fingerprint()
    digest = sha256(dumps(settings, sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / "cohorts" / f"{config.data.dataset}-{digest[:24]}"
    if (folder / "cohort.json").is_file():
        return folder
    columns, rows, shares = divided or _divide(config, corpus, labels, progress)
    encoded = sources.encoded(columns, progress)
    tables = {modality: each.table for modality, each in encoded.items()}
    for modality, worse in sources.tested(columns, progress).items():
        tables[modality] = with_rows(tables[modality], worse.table, rows.of_split("test"))
        encoded[f"{modality}, degraded"] = worse
    silent = ~np.any([has_tokens(table) for table in tables.values()], axis=0)
    if silent[rows.splits != ""].any():
        # What cannot be used is known only now; those who would have held it are given other rows.
        rows, shares = _shares(config, columns, ~silent)
    streams = make_streams(tables, columns, config.data.normalise, config.data.context)
    settings["unusable"] = {modality: dict(each.unusable) for modality, each in encoded.items() if each.unusable}
    cohort = _assemble(config, columns, rows, shares, streams, matrix, settings)
    with reporting_disk(folder):
        cohort.save(folder)
    share_tables(folder)
    _report(cohort, len(columns.utterances), progress)
    return folder


def _sources(config: RunSettings, corpus: Corpus, ensure_bundle: Callable[[], Path] | None) -> Sources:
    data, own = config.data, config.fine_tuning
    if config.federation.mode == FINE_TUNED:
        return open_media(corpus, data.modalities, own.sources, Limits(own.max_seconds, own.max_frames))
    return open_sources(
        corpus,
        data.modalities,
        data.bundle,
        ensure_bundle,
        data.audio_features,
        data.video_features,
        data.degrade_test,
    )


def _divide(config: RunSettings, corpus: Corpus, labels: LabelSet, progress: bool) -> tuple[Columns, Rows, Partition]:
    """The corpus as columns, its rows with the splits of this run, and who holds which of them."""
    with working(f"reading {config.data.dataset}", shown=progress, at_once=False):
        columns = read_columns(corpus, labels, rating_names(config.data.targets))
        there = np.any([columns.has(modality) for modality in config.data.modalities], axis=0)
        return columns, *_shares(config, columns, there)


def _shares(config: RunSettings, columns: Columns, there: NDArray[np.bool_]) -> tuple[Rows, Partition]:
    """Of the rows that are there, shape (N,): those with the splits of this run, and who holds which of them."""
    shown = config.evaluation
    rows = _with_a_modality(columns.rows, there, config)
    seed = config.federation.seed
    rows = assign_splits(
        rows, config.data.dataset, shown.folds, shown.fold, shown.retrain_with_dev, shown.folds_over, seed
    )
    return rows, partition(config.data.partition, rows, seed)


def _noise_matrix(config: RunSettings, labels: LabelSet) -> NDArray[np.float64] | None:
    if config.data.label_noise_matrix is None:
        return None
    if config.data.label_noise == 0:
        raise ConfigError("--label-noise-matrix says where wrong labels go, not how many; add --label-noise")
    matrix = read_matrix(config.data.label_noise_matrix)
    transitions(len(labels), matrix)
    return matrix


def _settings(config: RunSettings, sources: Sources, matrix: NDArray[np.float64] | None) -> dict[str, Any]:
    """Everything that decides a cohort; also what its ``about`` says."""
    return {
        "edition": _EDITION,
        "dataset": config.data.dataset,
        "corpus": sources.corpus.fingerprint(),
        "features": sources.keys(),
        "encoder_keys": {modality: encoder.key for modality, encoder in sources.encoders.items()},
        "modalities": list(config.data.modalities),
        "labels": config.data.labels,
        "targets": list(config.data.targets),
        "partition": config.data.partition,
        "context": config.data.context,
        "normalise": config.data.normalise,
        **({"degrade_test": list(config.data.degrade_test)} if config.data.degrade_test else {}),
        "missing_modality": config.data.missing_modality,
        "label_noise": config.data.label_noise,
        "label_noise_matrix": None if matrix is None else matrix.tolist(),
        "folds": config.evaluation.folds,
        "fold": config.evaluation.fold if config.evaluation.folds else None,
        "folds_over": config.evaluation.folds_over,
        "retrain_with_dev": config.evaluation.retrain_with_dev,
        "seed": config.federation.seed,
    }


def _with_a_modality(rows: Rows, there: NDArray[np.bool_], config: RunSettings) -> Rows:
    """Rows without those that have none of the modalities in use: nothing could be said of them."""
    if not there.any():
        raise DataError(
            f"not one of {len(there):,} utterances has {' or '.join(config.data.modalities)} in "
            f"{config.data.data_dir}; put the clips there, or choose other --modalities"
        )
    return replace(rows, splits=np.where(there, rows.splits, ""), labels=np.where(there, rows.labels, -1))


def _assemble(
    config: RunSettings,
    columns: Columns,
    rows: Rows,
    shares: Partition,
    streams: Mapping[str, TokenTable],
    matrix: NDArray[np.float64] | None,
    settings: Mapping[str, Any],
) -> Cohort:
    """The cohort, of the rows that somebody holds or that are tested on; they are numbered again."""
    present = {name: has_tokens(table) for name, table in streams.items()}
    by_nature = {name: held for name, held in present.items() if name != CONTEXT}
    left = drop_modalities(by_nature, shares, config.data.missing_modality, config.federation.seed)
    if CONTEXT in present:
        # What was said before is text: who cannot have the one cannot have the other.
        left[CONTEXT] = present[CONTEXT] & ~(by_nature["text"] & ~left["text"])
    classes = len(rows.label_names)
    noisy = flip_labels(rows.labels, shares.rows, classes, config.data.label_noise, config.federation.seed, matrix)
    soft = _noisy_votes(columns.soft_labels, rows.labels, noisy)

    views = _views(rows, columns.rows, shares)
    used = np.unique(np.concatenate([shares.rows, *views.values()]))
    number = np.full(len(rows.labels), -1)
    number[used] = np.arange(len(used))
    owners, groups = np.unique(rows.owners[used], return_inverse=True)
    said = Dialogues(columns.dialogues, columns.turns, columns.speakers)
    return Cohort(
        tables={name: take_rows(table, used) for name, table in streams.items()},
        present={name: left[name][used] for name in streams},
        labels=rows.labels[used],
        train_labels=noisy[used],
        client_offsets=shares.offsets,
        client_rows=number[shares.rows],
        splits={name: number[view] for name, view in views.items()},
        groups=groups.astype(np.int64),
        group_names=tuple(rows.owner_names[owner] for owner in owners),
        client_names=shares.names,
        label_names=rows.label_names,
        about={**settings, "left_out": _left_out(rows, columns, shares)},
        soft_labels=None if soft is None else soft[used],
        dialogues=said.take(used) if (said.ids >= 0).any() else None,
        rating_names=rating_names(config.data.targets),
        ratings=None if columns.ratings is None else columns.ratings[used],
    )


def _views(rows: Rows, official: Rows, shares: Partition) -> dict[str, NDArray[np.int64]]:
    views = {"dev": rows.of_split("dev"), "test": rows.of_split("test"), **extra_views(rows, official)}
    return {name: np.setdiff1d(view, shares.excluded) for name, view in views.items() if len(view)}


def _noisy_votes(
    votes: NDArray[np.float32] | None, labels: NDArray[np.int64], noisy: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Votes, with those for a wrong label all for that one: the true votes would give the noise away."""
    flipped = np.flatnonzero(labels != noisy)
    if votes is None or len(flipped) == 0:
        return votes
    votes = votes.copy()
    votes[flipped] = 0.0
    votes[flipped, noisy[flipped]] = 1.0
    return votes


def _left_out(rows: Rows, columns: Columns, shares: Partition) -> dict[str, int]:
    """How many utterances take no part, and why."""
    outside = int((columns.rows.labels < 0).sum())
    by_rule = int(((rows.splits == "") & (columns.rows.labels >= 0)).sum()) + len(shares.excluded)
    unheld = len(rows.training) - len(shares.rows)
    return {"outside_label_set": outside, "by_protocol": by_rule, "training_rows_nobody_holds": unheld}


def _report(cohort: Cohort, utterances: int, progress: bool) -> None:
    console = Console(stderr=True)
    if not (progress and console.is_terminal):
        return
    left_out = {what.replace("_", " "): count for what, count in cohort.about["left_out"].items() if count}
    notes = "".join(f"; {count:,} {what}" for what, count in left_out.items())
    splits = ", ".join(f"{len(rows):,} {name}" for name, rows in cohort.splits.items())
    held = f"{cohort.num_clients:,} clients hold {len(cohort.client_rows):,} of {utterances:,} utterances"
    console.print(f"{held}; {splits}{notes}", highlight=False, soft_wrap=True)
