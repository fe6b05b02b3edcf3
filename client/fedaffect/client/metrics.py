"""Figures of merit: of classes from confusion matrices, rows true and columns predicted, and of ratings."""

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
    """Accuracy, unweighted average recall, macro and weighted F1, macro precision and recall.

    Classes that occur neither in the truth nor among the answers count nowhere, as in scikit-learn. ``macro_recall``
    is ``uar`` but where a class is answered that does not occur: it then counts, as 0.

    Parameters
    ----------
    confusion : int64 array, shape (C, C)

    Returns
    -------
    dict of str to float
        ``accuracy``, ``uar`` (mean recall of the classes that occur), ``macro_f1``, ``weighted_f1``,
        ``macro_precision``, ``macro_recall``.

    Raises
    ------
    DataError
        If the matrix is empty: there was nothing to evaluate.
    """
    support = confusion.sum(1)
    total = int(support.sum())
    if total == 0:
        raise DataError("there is nothing to evaluate; the split has no examples")
    recall, precision, f1 = _rates(confusion)
    seen = (support + confusion.sum(0)) > 0
    return {
        "accuracy": float(np.trace(confusion) / total),
        "uar": float(recall[support > 0].mean()),
        "macro_f1": float(f1[seen].mean()),
        "weighted_f1": float((f1 * support).sum() / total),
        "macro_precision": float(precision[seen].mean()),
        "macro_recall": float(recall[seen].mean()),
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


def concordance(said: NDArray[np.floating], meant: NDArray[np.floating]) -> float:
    """Lin's concordance correlation coefficient (Biometrics 45, 1989), from -1 to 1.

    2 cov(x, y) / (var x + var y + (mean x - mean y)^2): correlation that also wants the same scale and mean. 0 where
    neither side varies.

    Parameters
    ----------
    said, meant : float arrays, shape (N,)
    """
    x, y = np.asarray(said, np.float64), np.asarray(meant, np.float64)
    apart = x.var() + y.var() + (x.mean() - y.mean()) ** 2
    return float(2 * ((x - x.mean()) * (y - y.mean())).mean() / apart) if apart > 0 else 0.0


def rating_figures(said: NDArray[np.float32], meant: NDArray[np.float32], names: Sequence[str]) -> dict[str, float]:
    """How well ratings are met.

    Parameters
    ----------
    said, meant : float32 arrays, shape (N, R)
        NaN in ``meant`` where nobody rated.
    names : sequence of str
        R names.

    Returns
    -------
    dict of str to float
        ``valence_ccc`` (`concordance`), ``valence_mae`` (mean absolute error) and the like for each rating that any row
        has, and their means over ratings, ``ccc`` and ``mae``. Empty where no row has any.
    """
    figures: dict[str, float] = {}
    for column, name in enumerate(names):
        rated = np.isfinite(meant[:, column])
        if rated.any():
            one, other = said[rated, column], meant[rated, column]
            figures[f"{name}_ccc"] = concordance(one, other)
            figures[f"{name}_mae"] = float(np.abs(one - other).mean())
    for kind in ("ccc", "mae") if figures else ():
        figures[kind] = float(np.mean([value for name, value in figures.items() if name.endswith(f"_{kind}")]))
    return figures
