"""Evaluation on the server: one split through a resident task, figures and per-sample answers out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.client.metrics import per_class, spread, summarise
from fedaffect.client.task import ClientTask, Evaluation

DEV, TEST = "dev", "test"


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What a model makes of one split.

    Parameters
    ----------
    split : str
    figures : mapping of str to float
        ``accuracy, uar, macro_f1, weighted_f1, loss``.
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


def evaluate_split(task: ClientTask, weights: Tensor, split: str) -> SplitResult:
    """Evaluate parameters on a split.

    Parameters
    ----------
    task : ClientTask
    weights : Tensor of float32, shape (P,)
    split : str
        A key of the cohort's splits.
    """
    evaluation = task.evaluate(weights, task.cohort.splits[split])
    figures = summarise(evaluation.confusion)
    figures["loss"] = evaluation.loss_sum / max(1, len(evaluation.rows))
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
