"""Which rows train, choose and test: official splits, folds over people or samples, FER+'s rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.partition.rows import Rows

# RAVDESS: six folds of four consecutive actors.
_DEFAULT_FOLDS = {"ravdess": 6}
_OTHERWISE = 5
_LEAST_FOLDS = 3


def assign_splits(
    rows: Rows,
    dataset: str,
    folds: int,
    fold: int | None,
    retrain_with_dev: bool,
    over: str = "owners",
    seed: int = 0,
) -> Rows:
    """Rows with their final splits; those that take no part have the split ``""``.

    Rows outside the label set go first. Then, where ``folds`` is given or the corpus has no official split, owners
    are divided into folds (`by_folds`), or samples are (`by_samples`). Where the corpus says which rows pass its
    published rule (FER+), the others neither train nor choose nor test; see `extra_views`.

    Parameters
    ----------
    rows : Rows
        Labels are -1 outside the label set; splits are the official ones.
    dataset : str
        Name of the corpus.
    folds, fold : int
        As given to ``--folds`` and ``--fold``, counted from 1; 0 folds is the official split, or the first fold where
        there is none.
    retrain_with_dev : bool
        Development rows join the training rows, and there is no development split.
    over : {"owners", "samples"}
        What is divided into folds.
    seed : int
        Of the draw of samples.
    """
    splits = np.where(rows.labels >= 0, rows.splits, "")
    if folds or not (splits == "test").any():
        rows, count, number = replace(rows, splits=splits), folds or default_folds(dataset, rows), (fold or 1) - 1
        splits = by_folds(rows, count, number) if over == "owners" else by_samples(rows, count, number, seed)
    if "published" in rows.attributes:
        splits = np.where(rows.attributes["published"] == "yes", splits, "")
    if retrain_with_dev:
        splits = np.where(splits == "dev", "train", splits)
    return replace(rows, splits=splits)


def default_folds(dataset: str, rows: Rows) -> int:
    """Folds of a corpus without an official split, unless told otherwise."""
    return min(_DEFAULT_FOLDS.get(dataset, _OTHERWISE), max(_LEAST_FOLDS, len(rows.owner_names)))


def by_folds(rows: Rows, folds: int, fold: int) -> NDArray[np.str_]:
    """Splits of one fold: owners in natural order fall into ``folds`` runs, as even as can be.

    Fold i tests the owners of run i, both counted from 0; the next run's are the development set, and all others
    train. Owners are whole: nobody who is tested was trained or chosen on. Official splits are set aside.

    Raises
    ------
    ConfigError
        If nothing is known of the owners, or there are too few of them.
    """
    if rows.owner_kind == "image":
        raise ConfigError("nothing is known of who is in which clip, so fold samples: --folds-over samples --folds 5")
    taking_part = np.flatnonzero(rows.splits != "")
    owners = np.unique(rows.owners[taking_part])
    if folds < _LEAST_FOLDS:
        raise ConfigError(f"{folds} folds leave nothing to train on beside test and development; use 3 or more")
    if len(owners) < folds:
        few = len(owners) < _LEAST_FOLDS
        remedy = "give clips of more, or use --folds-over samples --folds 5" if few else f"use --folds {len(owners)}"
        raise ConfigError(f"{len(owners)} {rows.owner_kind}s cannot fill {folds} folds; {remedy}")
    fold_of_owner = np.full(len(rows.owner_names), -1)
    for number, run in enumerate(np.array_split(owners, folds)):
        fold_of_owner[run] = number
    folded = fold_of_owner[rows.owners]
    return _split_of(rows, folded, folds, fold)


def by_samples(rows: Rows, folds: int, fold: int, seed: int) -> NDArray[np.str_]:
    """Splits of one fold where single samples are drawn, whoever they are of, each class as even as can be.

    Owners are in all splits: who is tested was trained on, so that figures say nothing of people nobody knows. Much of
    the literature reports such draws.

    Raises
    ------
    ConfigError
        If there are too few folds, or samples.
    """
    if folds < _LEAST_FOLDS:
        raise ConfigError(f"{folds} folds leave nothing to train on beside test and development; use 3 or more")
    taking_part = np.flatnonzero(rows.splits != "")
    if len(taking_part) < folds:
        raise ConfigError(f"{len(taking_part)} samples cannot fill {folds} folds")
    drawn = np.random.default_rng([seed, folds]).permutation(taking_part)
    by_class = drawn[np.argsort(rows.labels[drawn], kind="stable")]
    folded = np.full(len(rows.labels), -1)
    # In turn, class after class: no fold has two samples more of a class than another.
    folded[by_class] = np.arange(len(by_class)) % folds
    return _split_of(rows, folded, folds, fold)


def _split_of(rows: Rows, folded: NDArray[np.int64], folds: int, fold: int) -> NDArray[np.str_]:
    splits = np.where(folded == fold, "test", np.where(folded == (fold + 1) % folds, "dev", "train"))
    return np.where(rows.splits == "", "", splits)


def extra_views(rows: Rows, official: Rows) -> dict[str, NDArray[np.int64]]:
    """Further views of the test split: ``test-argmax``, which the published rule does not thin out.

    Parameters
    ----------
    rows : Rows
        With the splits in use.
    official : Rows
        With the splits that the corpus gives.
    """
    if "published" not in rows.attributes:
        return {}
    return {"test-argmax": np.flatnonzero((official.splits == "test") & (rows.labels >= 0))}
