"""Features of a corpus through a trunk that never saw it: frozen encoders, and a projection from another corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from client.cohort import Cohort, TokenTable
from client.features.sequences import means
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

_LEAST_DEVIATION = 1e-3
STREAM: Final = "features"


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


def public_features(corpus: str, root: Path, private: Cohort) -> NDArray[np.float32]:
    """Mean tokens of the public corpus, without rows that the private one has too, shape (M, W).

    EmoryNLP and MELD were both cut from one series; what one says in both gives the same tokens.
    """
    name = PUBLIC[corpus]
    cohort = Cohort.load(cohort_for(RunConfig(dataset=name, data_dir=root / name, context=0), False))
    theirs, ours = means(_only_table(cohort)), means(_only_table(private))
    known = {row.tobytes() for row in ours}
    return theirs[[row.tobytes() not in known for row in theirs]]


def projected(private: Cohort, public: NDArray[np.float32], width: int) -> Cohort:
    """The private corpus in the public one's principal components, variances evened out by half.

    Parameters
    ----------
    private : Cohort
    public : float32 array, shape (M, W)
    width : int
        Components kept.
    """
    centre, deviation = public.mean(axis=0), public.std(axis=0) + _LEAST_DEVIATION
    _, scales, directions = np.linalg.svd((public - centre) / deviation, full_matrices=False)
    features = ((means(_only_table(private)) - centre) / deviation) @ directions[:width].T
    features /= np.sqrt(scales[:width] / np.sqrt(len(public)))
    rows = len(features)
    table = TokenTable(features.astype(np.float32), np.arange(rows + 1, dtype=np.int64))
    return replace(private, tables={STREAM: table}, present={STREAM: np.ones(rows, bool)})


def _only_table(cohort: Cohort) -> TokenTable:
    (table,) = cohort.tables.values()
    return table
