"""Figures of merit from confusion matrices; rows are true classes, columns predicted ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError


def _rates(confusion: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Recall, precision and F1 a class, each (C,); 0 where there is nothing to divide by."""
    hits = np.diag(confusion).astype(np.float64)
    true, predicted = confusion.sum(1), confusion.sum(0)
    recall = np.divide(hits, true, out=np.zeros_like(hits), where=true > 0)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    both = (true + predicted).astype(np.float64)
    f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    return recall, precision, f1


def summarise(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, unweighted average recall, macro and weighted F1.

    Classes that occur neither in the truth nor among the answers count nowhere, as in scikit-learn.

    Parameters
    ----------
    confusion : int64 array, shape (C, C)

    Returns
    -------
    dict of str to float
        ``accuracy``, ``uar`` (mean recall of the classes that occur), ``macro_f1``, ``weighted_f1``.

    Raises
    ------
    DataError
        If the matrix is empty: there was nothing to evaluate.
    """
    support = confusion.sum(1)
    total = int(support.sum())
    if total == 0:
        raise DataError("there is nothing to evaluate; the split has no examples")
    recall, _, f1 = _rates(confusion)
    seen = (support + confusion.sum(0)) > 0
    return {
        "accuracy": float(np.trace(confusion) / total),
        "uar": float(recall[support > 0].mean()),
        "macro_f1": float(f1[seen].mean()),
        "weighted_f1": float((f1 * support).sum() / total),
    }


def per_class(confusion: NDArray[np.int64], label_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Recall, precision, F1 and number of examples of each class.

    Parameters
    ----------
    confusion : int64 array, shape (C, C)
    label_names : sequence of str
        C names.
    """
    recall, precision, f1 = _rates(confusion)
    support = confusion.sum(1)
    return {
        name: {"recall": float(r), "precision": float(p), "f1": float(f), "support": int(n)}
        for name, r, p, f, n in zip(label_names, recall, precision, f1, support, strict=True)
    }


def spread(confusions: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    """How evenly a model serves those it serves.

    Parameters
    ----------
    confusions : mapping of str to int64 array, shape (C, C)
        One matrix a client; those without examples are left out.

    Returns
    -------
    dict
        ``clients`` (how many), ``accuracy_mean``, ``uar_mean``, and ``accuracy_worst_decile``,
        ``uar_worst_decile``: the means over the worst tenth of clients, at least one. ``each`` has
        ``name, examples, accuracy, uar`` of every client.
    """
    each = []
    for name, confusion in confusions.items():
        if examples := int(confusion.sum()):
            figures = summarise(confusion)
            each.append({"name": name, "examples": examples, "accuracy": figures["accuracy"], "uar": figures["uar"]})
    result: dict[str, Any] = {"clients": len(each), "each": each}
    for metric in ("accuracy", "uar") if each else ():
        values = np.sort(np.array([client[metric] for client in each]))
        result[f"{metric}_mean"] = float(values.mean())
        result[f"{metric}_worst_decile"] = float(values[: max(1, round(len(values) / 10))].mean())
    return result
