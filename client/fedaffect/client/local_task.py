"""What every engine of local training is: a resident task, its batches, and what it says of a model.

Torch's is :class:`fedaffect.client.task.ClientTask`; :class:`fedaffect.client.onnx_engine.task.OnnxTask` learns where
there is no torch. Both take the same examples in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort
from fedaffect.client.dialogues import shuffled_batches
from fedaffect.client.layout import ArrayLayout, Values
from fedaffect.client.shared_part import SharedPart
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import ClientState, Update
from fedaffect.edge.errors import TrainingError, unknown_name


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model answers on some rows.

    Parameters
    ----------
    rows : int64 array, shape (N,)
    labels, predictions : int64 arrays, shape (N,)
    probabilities : float32 array, shape (N, C)
    confusion : int64 array, shape (C, C)
        Rows are true classes, columns predicted ones.
    loss_sum : float
        Cross-entropy summed over rows.
    ratings, rated : float32 arrays, shape (N, R)
        What the model says of ratings, and what people said, NaN where nobody did; R is 0 where none are learned.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    confusion: NDArray[np.int64]
    loss_sum: float
    ratings: NDArray[np.float32]
    rated: NDArray[np.float32]


class LocalTask(Protocol):
    """Trains and evaluates any client of a cohort; see :class:`fedaffect.client.task.ClientTask`."""

    cohort: Cohort
    layout: ArrayLayout

    def shared(self, name: str) -> SharedPart:
        """Which parameters leave a client that runs the local algorithm of this name."""

    def of_array(self, vector: NDArray[np.float32]) -> Values:
        """Parameters that came, (P,), as this task takes them."""

    def rows_for(self, client: int, split: str) -> NDArray[np.int64]:
        """A client's own rows: those it trains with, or those of a split whose natural owner it is."""

    def train(
        self,
        weights: Values,
        config: TrainConfig,
        client: int,
        round: int,
        seed: int,
        state: ClientState | None = None,
        server_control: Values | None = None,
        copy: bool = True,
    ) -> Update:
        """One client's part in one round."""

    def evaluate(self, weights: Values, rows: NDArray[np.int64], batch_size: int = 256) -> Evaluation:
        """Answer on some rows, true labels beside."""


def client_seed(seed: int, round: int, client: int) -> int:
    """What a client's draws in a round start from.

    Node ids are random in Flower; the run's seed, the round and the partition id are not.
    """
    return int(np.random.SeedSequence([seed, round, client]).generate_state(1, np.uint64)[0])


def training_rows(cohort: Cohort, client: int) -> NDArray[np.int64]:
    """Rows that a client trains with.

    Raises
    ------
    TrainingError
        If it has none.
    """
    rows = cohort.rows_of(client)
    if len(rows) == 0:
        raise TrainingError(f"client {client} has no training examples; use a partition without empty clients")
    return rows


def class_counts(cohort: Cohort, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Training examples by class, shape (C,)."""
    return np.bincount(cohort.train_labels[rows], minlength=len(cohort.label_names))


def training_batches(
    rows: NDArray[np.int64],
    units: NDArray[np.int64] | None,
    config: TrainConfig,
    order: np.random.Generator,
    epochs: int,
    taken: int,
) -> Iterator[NDArray[np.int64]]:
    """Rows of one step after the other.

    Parameters
    ----------
    rows : int64 array, shape (N,)
    units : int64 array, shape (N,), optional
        What stays together; see `fedaffect.client.dialogues.shuffled_batches`.
    config : TrainConfig
    order : Generator
        Shuffles when an epoch begins; what else is drawn of it comes between.
    epochs : int
    taken : int
        Steps that count towards ``max_steps`` already.
    """
    for _ in range(epochs):
        for chosen in shuffled_batches(rows, units, config.batch_size, order):
            if config.max_steps and taken >= config.max_steps:
                return
            yield chosen
            taken += 1


def rows_of_split(cohort: Cohort, client: int, split: str) -> NDArray[np.int64]:
    """A client's own rows: those it trains with, or those of a split whose natural owner it is."""
    if split == "train":
        return cohort.rows_of(client)
    if split not in cohort.splits:
        raise unknown_name("split", split, ("train", *cohort.splits))
    rows = cohort.splits[split]
    name = cohort.client_names[client]
    if name not in cohort.group_names:
        return rows[:0]
    own: NDArray[np.int64] = rows[cohort.groups[rows] == cohort.group_names.index(name)]
    return own


def rows_by_length(cohort: Cohort, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of rows by how many tokens they have, so that rows of similar length are padded together."""
    lengths = sum((table.lengths(rows) for table in cohort.tables.values()), start=np.zeros(len(rows), np.int64))
    return np.argsort(lengths, kind="stable")


def evaluation(
    cohort: Cohort,
    rows: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    ratings: NDArray[np.float32] | None = None,
) -> Evaluation:
    """What probabilities (N, C), and ratings (N, R) where they are learned, of some rows amount to."""
    nothing = np.zeros((len(rows), 0), np.float32)
    classes = len(cohort.label_names)
    labels = np.asarray(cohort.labels[rows], dtype=np.int64)
    predictions = probabilities.argmax(1).astype(np.int64)
    confusion = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
    likelihood = probabilities[np.arange(len(rows)), labels].astype(np.float64)
    return Evaluation(
        rows=np.asarray(rows, dtype=np.int64),
        labels=labels,
        predictions=predictions,
        probabilities=probabilities,
        confusion=confusion.astype(np.int64),
        loss_sum=float(-np.log(np.maximum(likelihood, 1e-12)).sum()),
        ratings=nothing if ratings is None else ratings,
        rated=nothing if cohort.ratings is None else np.asarray(cohort.ratings[rows]),
    )
