"""Evaluation on the server: one split through a resident task, figures and per-sample answers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.local_task import Evaluation
from fedaffect.client.metrics import per_class, rating_figures, spread, summarise
from fedaffect.client.privacy.bounds import CONTEXT

DEV, TEST = "dev", "test"


class Task(Protocol):
    """What answers for parameters: a client's task, or networks that take raw input."""

    @property
    def cohort(self) -> Cohort:
        """Whose rows it answers on."""

    @property
    def layout(self) -> ArrayLayout:
        """The order of its parameters."""

    def evaluate(self, weights: Tensor, rows: NDArray[np.int64], *, cohort: Cohort | None = None) -> Evaluation:
        """Answer on some rows, true labels beside; of another cohort with the same rows, such as one stream alone."""


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What a model makes of one split.

    Parameters
    ----------
    split : str
    figures : mapping of str to float
        Those of :data:`fedaffect.client.figures.FIGURES`, and of `fedaffect.client.metrics.rating_figures`.
    evaluation : Evaluation
        The answers themselves.
    """

    split: str
    figures: Mapping[str, float]
    evaluation: Evaluation

    def details(self, cohort: Cohort) -> dict[str, Any]:
        """Figures with those of every class and natural owner, as JSON."""
        return {
            **self.figures,
            "examples": len(self.evaluation.rows),
            "per_class": per_class(self.evaluation.confusion, cohort.label_names),
            "confusion": self.evaluation.confusion.tolist(),
            "owners": spread(confusion_by_owner(self.evaluation, cohort)),
        }


def evaluate_split(task: Task, weights: Tensor, split: str) -> SplitResult:
    """Evaluate parameters on a split.

    Parameters
    ----------
    task : Task
    weights : Tensor of float32, shape (P,)
    split : str
        A key of the cohort's splits.
    """
    return _result(split, task.evaluate(weights, task.cohort.splits[split]), task.cohort)


def evaluate_alone(task: Task, weights: Tensor, split: str, modality: str) -> SplitResult | None:
    """Evaluate parameters shown one modality only, on the rows of a split that have it; None where none has.

    What was said before is words: it goes with the text.
    """
    rows = task.cohort.splits[split]
    rows = rows[task.cohort.present[modality][rows]]
    if len(rows) == 0:
        return None
    alone = task.cohort.only((modality, CONTEXT) if modality == "text" else (modality,))
    return _result(split, task.evaluate(weights, rows, cohort=alone), task.cohort)


def _result(split: str, evaluation: Evaluation, cohort: Cohort) -> SplitResult:
    figures = summarise(evaluation.confusion)
    figures["loss"] = evaluation.loss_sum / max(1, len(evaluation.rows))
    figures |= rating_figures(evaluation.ratings, evaluation.rated, cohort.rating_names)
    return SplitResult(split, figures, evaluation)


def confusion_by_owner(evaluation: Evaluation, cohort: Cohort) -> dict[str, NDArray[np.int64]]:
    """One confusion matrix (C, C) for each natural owner (speaker, actor, video) of the rows."""
    classes = len(cohort.label_names)
    owners, place = np.unique(cohort.groups[evaluation.rows], return_inverse=True)
    cells = (place * classes + evaluation.labels) * classes + evaluation.predictions
    counts = np.bincount(cells, minlength=len(owners) * classes**2).reshape(len(owners), classes, classes)
    return {cohort.group_names[owner]: matrix for owner, matrix in zip(owners, counts, strict=True)}


def has_rows(cohort: Cohort, split: str) -> bool:
    """Whether a cohort has that split and anything in it."""
    return split in cohort.splits and len(cohort.splits[split]) > 0


def test_views(cohort: Cohort) -> list[str]:
    """Names of the test split and of further views of it, ``test`` first."""
    views = sorted(s for s in cohort.splits if s.startswith(f"{TEST}-") and has_rows(cohort, s))
    return [TEST, *views] if has_rows(cohort, TEST) else views
