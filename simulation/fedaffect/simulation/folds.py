"""Cross-validation: one summary out of those of all folds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from fedaffect.client.figures import FIGURES, RATING_FIGURES
from fedaffect.client.metrics import per_class, summarise

_MEANS = ("client_updates_per_second", "bytes_up_per_client_update", "bytes_down_per_client_update", "clients")
_SUMS = ("wall_s", "client_updates", "client_failures", "rejected_updates", "dropouts", "refusals", "failed_rounds")


def combine_folds(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean figures over folds, their spread, and one confusion matrix of all test samples.

    Parameters
    ----------
    folds : sequence of mapping
        Summaries of the folds, in order, at least one.

    Returns
    -------
    dict
        The keys of a run's summary. ``test`` has means over folds; ``test_std`` their standard deviation over
        folds (of the population: these are all folds); ``test_pooled`` figures of the pooled confusion matrix,
        which also stands in ``test``; ``folds`` the summaries.
    """
    tests = [fold["test"] for fold in folds]
    figures = [name for name in (*FIGURES, *_of_ratings(tests[0])) if all(name in t for t in tests)]
    test: dict[str, Any] = {name: fmean(t[name] for t in tests) for name in figures}
    combined: dict[str, Any] = {**folds[0], "fold": None, "folds": [_brief(fold) for fold in folds]}
    combined["test_std"] = {name: pstdev(t[name] for t in tests) for name in figures}
    if all("confusion" in t for t in tests):
        confusion = np.sum([np.asarray(t["confusion"], dtype=np.int64) for t in tests], axis=0)
        test["confusion"] = confusion.tolist()
        test["per_class"] = per_class(confusion, folds[0]["label_names"])
        test["examples"] = int(confusion.sum())
        combined["test_pooled"] = summarise(confusion)
    test["owners"] = _owners([t["owners"] for t in tests if "owners" in t])
    dev = [fold["dev"] for fold in folds if fold.get("dev")]
    combined["test"] = test
    combined |= {key: _views([fold.get(key) or {} for fold in folds]) for key in ("test_views", "test_by_modality")}
    chosen = (*FIGURES, *(name for name in _of_ratings(dev[0]) if all(name in d for d in dev))) if dev else ()
    combined["dev"] = {name: fmean(d[name] for d in dev) for name in chosen} if dev else None
    combined["best_round"] = round(fmean(fold["best_round"] for fold in folds))
    combined["best_round_rule"] = f"mean over folds; in each, {folds[0]['best_round_rule']}"
    combined["rounds"] = max(int(fold["rounds"]) for fold in folds)
    combined["peak_rss_mb"] = max(fold["peak_rss_mb"] for fold in folds)
    combined |= {key: fmean(fold[key] for fold in folds) for key in _MEANS if key in folds[0]}
    combined |= {key: sum(fold[key] for fold in folds) for key in _SUMS if key in folds[0]}
    combined["failure_reasons"] = dict(sum((Counter(fold.get("failure_reasons") or {}) for fold in folds), Counter()))
    for key in ("clients", "bytes_up_per_client_update", "bytes_down_per_client_update"):
        combined[key] = round(combined[key])
    combined.pop("on_clients", None)
    combined.pop("about", None)
    return combined


def _of_ratings(figures: Mapping[str, Any]) -> list[str]:
    return [name for name in figures if name.rpartition("_")[2] in RATING_FIGURES]


def _brief(fold: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("fold", "run", "clients", "rounds", "best_round", "client_updates_per_second", "wall_s")
    test = {name: fold["test"][name] for name in (*FIGURES, "examples") if name in fold["test"]}
    dev = fold.get("dev")
    return {
        **{key: fold[key] for key in keys if key in fold},
        "test": test,
        "dev": {name: dev[name] for name in FIGURES} if dev else None,
    }


def _views(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = set.intersection(*(set(views) for views in folds))
    return {
        name: {figure: fmean(views[name][figure] for views in folds) for figure in FIGURES}
        | {"examples": sum(views[name]["examples"] for views in folds)}
        for name in folds[0]
        if name in names
    }


def _owners(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Owners of all folds together: with folds over people, each is tested in one."""
    each = [one for owners in folds for one in owners["each"]]
    together: dict[str, Any] = {"clients": len(each), "each": each}
    for metric in ("accuracy", "uar") if each else ():
        values = np.sort([one[metric] for one in each])
        together[f"{metric}_mean"] = float(values.mean())
        together[f"{metric}_worst_decile"] = float(values[: max(1, round(len(values) / 10))].mean())
    return together
