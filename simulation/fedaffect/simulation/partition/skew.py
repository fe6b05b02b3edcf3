"""Clients drawn at random: alike, or uneven in labels or in size.

Where flwr-datasets has a partitioner that draws with a seed, it is used. Three of its habits are worked around:
rows of one class go to clients in the order of the corpus (neighbours, often one speaker's, stay together), so rows
are shuffled first; ``IidPartitioner`` cuts the corpus into runs and draws nothing, so our two lines do the same on
shuffled rows, for 100,000 clients in one go instead of a dataset object each; sizes are only linear, square or
exponential in a client's number, never Dirichlet.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.partition.rows import Partition, Rows


def iid(rows: Rows, seed: int, clients: int) -> Partition:
    """Equal shares, to within one example, of the shuffled training rows."""
    training = _at_least_one_each(rows, clients)
    shuffled = np.random.default_rng(seed).permutation(training)
    # Sizes as np.array_split and IidPartitioner make them: the first few shares are one longer.
    share, rest = divmod(len(shuffled), clients)
    sizes = share + (np.arange(clients) < rest)
    return Partition.numbered(shuffled, np.repeat(np.arange(clients), sizes), clients)


def quantity(rows: Rows, seed: int, alpha: float, clients: int) -> Partition:
    """Like `iid`, with shares whose sizes follow a symmetric Dirichlet(alpha).

    Each client first gets one example; Dirichlet proportions divide the others. The smaller alpha, the more uneven.
    """
    training = _at_least_one_each(rows, clients)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(training)
    # A very small alpha underflows every gamma draw behind a Dirichlet to 0/0; then one client takes all.
    shares = np.nan_to_num(rng.dirichlet(np.full(clients, alpha)))
    if shares.sum() == 0:
        shares[rng.integers(clients)] = 1.0
    cuts = np.rint(np.cumsum(shares) / shares.sum() * (len(shuffled) - clients)).astype(np.int64)
    sizes = 1 + np.diff(cuts, prepend=0)
    return Partition.numbered(shuffled, np.repeat(np.arange(clients), sizes), clients)


def dirichlet(rows: Rows, seed: int, alpha: float, clients: int) -> Partition:
    """Each class divided among clients by proportions from a symmetric Dirichlet(alpha).

    Hsu, Qi and Brown, Measuring the Effects of Non-Identical Data Distribution, arXiv 1909.06335, as
    flwr-datasets draws it: again, up to ten times, until every client holds an example.

    Raises
    ------
    ConfigError
        If some client still holds none.
    """
    from flwr_datasets.partitioner import DirichletPartitioner  # type: ignore[import-untyped]

    _at_least_one_each(rows, clients)
    draws, shuffle = np.random.default_rng(seed).integers(2**31, size=2).tolist()
    partitioner = DirichletPartitioner(clients, "label", alpha, min_partition_size=1, shuffle=False, seed=draws)
    remedy = f"use fewer clients than {clients} or a larger alpha than {alpha:g}"
    return _divide(partitioner, rows, shuffle, clients, remedy)


def shards(rows: Rows, seed: int, shards_each: int, clients: int) -> Partition:
    """Rows sorted by class and cut into equal shards, of which each client draws a few: the pathological split.

    McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017,
    section 3. A client sees about ``shards_each`` classes. The division leaves fewer than
    ``shards_each * clients`` rows over, which nobody holds.

    Raises
    ------
    ConfigError
        If there are fewer rows than shards.
    """
    from flwr_datasets.partitioner import ShardPartitioner

    training = rows.training
    if shards_each * clients > len(training):
        raise ConfigError(
            f"{clients} clients of {shards_each} shards need {shards_each * clients} training examples and there are "
            f"{len(training)}; use shards:{shards_each}:{max(1, len(training) // shards_each)} or fewer clients"
        )
    draws, shuffle = np.random.default_rng(seed).integers(2**31, size=2).tolist()
    partitioner = ShardPartitioner(clients, "label", shards_each, shuffle=False, seed=draws)
    return _divide(partitioner, rows, shuffle, clients, "use fewer clients or shards")


def _at_least_one_each(rows: Rows, clients: int) -> NDArray[np.int64]:
    training = rows.training
    if clients > len(training):
        raise ConfigError(
            f"{clients} clients cannot share {len(training)} training examples; use {len(training)} clients or fewer"
        )
    return training


def _divide(partitioner: Any, rows: Rows, shuffle: int, clients: int, remedy: str) -> Partition:
    """Run a flwr-datasets partitioner over the labels of the shuffled training rows."""
    from datasets import Dataset  # type: ignore[import-untyped]

    shuffled = np.random.default_rng(shuffle).permutation(rows.training)
    with warnings.catch_warnings():
        # It warns at each new draw, and its sort uses an argument that pyarrow has deprecated.
        warnings.simplefilter("ignore")
        partitioner.dataset = Dataset.from_dict({"label": rows.labels[shuffled], "row": shuffled})
        try:
            held = [np.asarray(partitioner.load_partition(k)["row"], dtype=np.int64) for k in range(clients)]
        except ValueError as error:
            raise ConfigError(f"some client would hold no training example; {remedy}") from error
    sizes = [len(part) for part in held]
    return Partition.numbered(np.concatenate(held), np.repeat(np.arange(clients), sizes), clients)
