"""Features of a corpus through a trunk that never saw it: frozen encoders, and a projection from another corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from client.cohort import Cohort, TokenTable
from client.features.sequences import means
from client.privacy.centring import private_mean, unit_rows
from client.privacy.noise import NoiseSource
from server.run_config import RunConfig
from simulation.pooling import cohort_for

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
STREAM: Final = "features"


@dataclass(frozen=True, slots=True)
class Public:
    """Mean tokens of a public corpus.

    Parameters
    ----------
    features : float32 array, shape (M, W)
    owners : int64 array, shape (M,)
    """

    features: NDArray[np.float32]
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
        Of those that are cross-validated.
    """
    config = RunConfig(dataset=corpus, data_dir=root / corpus, fold=fold, **SETTINGS[corpus])
    return Cohort.load(cohort_for(config, False))


def public_features(corpus: str, root: Path, private: Cohort) -> Public:
    """The public corpus without rows that the private one has too.

    EmoryNLP and MELD were both cut from one series; what one says in both gives the same tokens.
    """
    name = PUBLIC[corpus]
    cohort = Cohort.load(cohort_for(RunConfig(dataset=name, data_dir=root / name, context=0), False))
    theirs, ours = means(_only_table(cohort)), means(_only_table(private))
    known = {row.tobytes() for row in ours}
    kept = np.array([row.tobytes() not in known for row in theirs])
    return Public(theirs[kept], cohort.groups[kept])


def projected(private: Cohort, public: Public, width: int, centre: bool = False) -> Projected:
    """The private corpus in the public one's principal components, variances evened out by half.

    Parameters
    ----------
    private : Cohort
    public : Public
    width : int
        Components kept.
    centre : bool
        Components of what varies within public owners, for clients that will be centred.
    """
    mean, deviation = public.features.mean(axis=0), public.features.std(axis=0) + _LEAST_DEVIATION
    theirs = (public.features - mean) / deviation
    varying = theirs - _owner_means(theirs, public.owners) if centre else theirs
    _, scales, directions = np.linalg.svd(varying, full_matrices=False)
    evened = directions[:width].T / np.sqrt(scales[:width] / np.sqrt(len(theirs)))
    features = (((means(_only_table(private)) - mean) / deviation) @ evened).astype(np.float32)
    if not centre:
        return Projected(with_features(private, features))
    owners, first = np.unique(public.owners, return_index=True)
    of_owners = _owner_means(unit_rows((theirs @ evened).astype(np.float32)), public.owners)[first]
    return Projected(with_features(private, features), of_owners.var(axis=0) * len(owners) / (len(owners) - 1))


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
