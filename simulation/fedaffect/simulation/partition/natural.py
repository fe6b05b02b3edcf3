"""Clients as the corpus has them: a person or video each, or FedMultimodal's groups of MELD."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.partition.rows import Partition, Rows

FEDMULTIMODAL_LABELS = frozenset({"neutral", "sadness", "joy", "anger"})
FEDMULTIMODAL_MORE_THAN = 10


def natural(rows: Rows, seed: int) -> Partition:
    """One client for each speaker, actor or video with training rows, however few; nothing is merged.

    Raises
    ------
    ConfigError
        If the corpus does not say whose its rows are.
    """
    if rows.owner_kind == "image":
        raise ConfigError(
            "nothing is known of who is on which picture, so there is no natural partition; "
            "use --partition dirichlet:0.5:100 or iid:100"
        )
    training = rows.training
    held, clients = np.unique(rows.owners[training], return_inverse=True)
    return Partition.of_clients(training, clients, [rows.owner_names[k] for k in held])


def fedmultimodal(rows: Rows, seed: int) -> Partition:
    """Season x speaker groups of MELD with more than ten utterances of four classes.

    The rule of FedMultimodal (Feng et al., KDD 2023, arXiv 2306.09486) for MELD. Their code applies it to each
    official split by itself, so development and test utterances of smaller groups leave the evaluation:
    86 clients, 7,318 training, 628 development and 1,774 test utterances.

    Raises
    ------
    ConfigError
        If the corpus has no seasons or the label set is not theirs.
    """
    if "season" not in rows.attributes:
        raise ConfigError("the fedmultimodal partition is a rule for MELD's seasons; use --dataset meld or natural")
    if set(rows.label_names) != FEDMULTIMODAL_LABELS:
        raise ConfigError("the fedmultimodal partition is defined on four classes; add --labels meld4")
    groups, group_of = _season_and_speaker(rows)
    kept = np.zeros(len(rows.labels), bool)
    for split in ("train", "dev", "test"):
        here = rows.of_split(split)
        sizes = np.bincount(group_of[here], minlength=len(groups))
        kept[here] = sizes[group_of[here]] > FEDMULTIMODAL_MORE_THAN
    training = rows.training[kept[rows.training]]
    held, clients = np.unique(group_of[training], return_inverse=True)
    evaluated = np.isin(rows.splits, ("dev", "test"))
    return Partition.of_clients(training, clients, [groups[g] for g in held], np.flatnonzero(evaluated & ~kept))


def _season_and_speaker(rows: Rows) -> tuple[list[str], NDArray[np.int64]]:
    pairs = np.char.add(np.char.add("season ", rows.attributes["season"]), " ")
    names, index = np.unique(np.char.add(pairs, rows.attributes["speaker"]), return_inverse=True)
    return [str(name) for name in names], index.astype(np.int64)
