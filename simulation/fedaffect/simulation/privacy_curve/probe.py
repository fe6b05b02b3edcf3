"""Features of a corpus through a trunk that never saw it: frozen encoders, and a projection from another corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.features.sequences import means, take_rows
from fedaffect.client.privacy.centring import private_mean, unit_rows
from fedaffect.client.privacy.noise import NoiseSource
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.pooling import cohort_for

# Corpus -> how it becomes clients, and the other, public corpus that its trunk may learn from.
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "meld": {"labels": "meld4", "partition": "fedmultimodal", "context": 0, "normalise": "none"},
        "ravdess": {"folds": 6, "normalise": "none"},
    }
)
PUBLIC: Final[Mapping[str, str]] = MappingProxyType({"meld": "emorynlp", "ravdess": "urdu"})
# Where every client's mean is taken off what it has: people who say enough for it, each in every emotion. Of MELD's
# speakers many say one line in the development split.
CENTRED: Final = frozenset({"ravdess"})

_LEAST_DEVIATION = 1e-3
# Chosen on development rows: 0.1 against 0.03.
_RIDGE = 0.1
STREAM: Final = "features"


@dataclass(frozen=True, slots=True)
class Public:
    """A public corpus.

    Parameters
    ----------
    table : TokenTable
        Of M rows.
    owners : int64 array, shape (M,)
    """

    table: TokenTable
    owners: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Projected:
    """A private corpus in a public one's directions.

    Parameters
    ----------
    cohort : Cohort
        One token a row.
    between : float32 array, shape (W,), optional
        How public owners' mean rows vary, where clients are to be centred.
    """

    cohort: Cohort
    between: NDArray[np.float32] | None = None


def private_cohort(corpus: str, root: Path, fold: int | None) -> Cohort:
    """The corpus as clients, unprojected.

    Parameters
    ----------
    corpus : {"meld", "ravdess"}
    root : Path
        Has a folder for each corpus, by its name.
    fold : int, optional
        Counted from 1, of those that are cross-validated.
    """
    config = RunSettings.of(dataset=corpus, data_dir=root / corpus, fold=fold, **SETTINGS[corpus])
    return Cohort.load(cohort_for(config, False))


def public_features(corpus: str, root: Path, private: Cohort) -> Public:
    """The public corpus without rows that the private one has too.

    EmoryNLP and MELD were both cut from one series; what one says in both gives the same tokens.
    """
    name = PUBLIC[corpus]
    cohort = Cohort.load(cohort_for(RunSettings.of(dataset=name, data_dir=root / name, context=0), False))
    known = {row.tobytes() for row in means(_only_table(private))}
    kept = np.flatnonzero([row.tobytes() not in known for row in means(_only_table(cohort))])
    return Public(take_rows(_only_table(cohort), kept), cohort.groups[kept])


def projected(private: Cohort, public: Public, width: int, centre: bool = False) -> Projected:
    """The private corpus in the public one's principal components.

    Parameters
    ----------
    private : Cohort
    public : Public
    width : int
        Components kept.
    centre : bool
        For clients that will be centred: components of what varies within public owners, after weighing down what
        varies within one utterance, which is what is said rather than how. Else variances are evened out by half.
    """
    theirs = means(public.table)
    mean, deviation = theirs.mean(axis=0), theirs.std(axis=0) + _LEAST_DEVIATION
    theirs, ours = (theirs - mean) / deviation, (means(_only_table(private)) - mean) / deviation
    if not centre:
        _, scales, directions = np.linalg.svd(theirs, full_matrices=False)
        features = ours @ directions[:width].T / np.sqrt(scales[:width] / np.sqrt(len(theirs)))
        return Projected(with_features(private, features.astype(np.float32)))
    whitened = _without_words(public.table, deviation)
    theirs, ours = theirs @ whitened, ours @ whitened
    _, _, directions = np.linalg.svd(theirs - _owner_means(theirs, public.owners), full_matrices=False)
    theirs, ours = theirs @ directions[:width].T, ours @ directions[:width].T
    _, first = np.unique(public.owners, return_index=True)
    of_owners = _owner_means(unit_rows(theirs), public.owners)[first]
    return Projected(with_features(private, ours), of_owners.var(axis=0, ddof=1))


def _without_words(table: TokenTable, deviation: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S + r tr(S) / W)^-1/2, S the covariance of tokens about the mean of their utterance, shape (W, W).

    Within-class covariance normalisation (Hatch, Kajarekar and Stolcke 2006) with an utterance as the class.
    """
    about = np.repeat(means(table), np.diff(table.offsets), axis=0)
    tokens = (np.asarray(table.tokens, dtype=np.float64) - about) / deviation
    covariance = tokens.T @ tokens / len(tokens)
    ridge = _RIDGE * np.trace(covariance) / len(covariance) + _LEAST_DEVIATION**2
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(len(covariance)))
    result: NDArray[np.float32] = ((vectors / np.sqrt(values)) @ vectors.T).astype(np.float32)
    return result


def centred(made: Projected, noise_multiplier: float, source: NoiseSource) -> Cohort:
    """The cohort with each client's mean row taken off, rows scaled to norm 1 before.

    Parameters
    ----------
    made : Projected
        As it is where nothing is to be centred.
    noise_multiplier : float
        Of the mean of clients that train. Owners of held-out rows answer for themselves alone, by their exact mean.
    source : NoiseSource
    """
    cohort, between = made.cohort, made.between
    if between is None:
        return cohort
    features = unit_rows(np.asarray(_only_table(cohort).tokens, dtype=np.float32))
    result = features.copy()
    for client in range(cohort.num_clients):
        rows = cohort.rows_of(client)
        result[rows] -= private_mean(features[rows], noise_multiplier, between, source)
    held_out = np.unique(np.concatenate(list(cohort.splits.values())))
    result[held_out] -= _owner_means(features[held_out], cohort.groups[held_out])
    return with_features(cohort, result)


def with_features(cohort: Cohort, features: NDArray[np.float32]) -> Cohort:
    """The same cohort with one token a row, shape (N, W), in place of what it had."""
    rows = len(features)
    table = TokenTable(features, np.arange(rows + 1, dtype=np.int64))
    return replace(cohort, tables={STREAM: table}, present={STREAM: np.ones(rows, bool)})


def _owner_means(rows: NDArray[np.float32], owners: NDArray[np.int64]) -> NDArray[np.float32]:
    """Of each row the mean over its owner's, shape (N, W)."""
    _, places, counts = np.unique(owners, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), rows.shape[1]), np.float64)
    np.add.at(sums, places, rows)
    result: NDArray[np.float32] = (sums / counts[:, None])[places].astype(np.float32)
    return result


def _only_table(cohort: Cohort) -> TokenTable:
    (table,) = cohort.tables.values()
    return table
