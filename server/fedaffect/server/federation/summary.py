"""The end of a run: which round is the best, and what it does on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.evaluation import (
    DEV,
    TEST,
    SplitResult,
    Task,
    evaluate_alone,
    evaluate_split,
    has_rows,
    test_views,
)
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.stopping import Record

# Beside the modalities alone: all that a sample has.
FUSED = "fused"


def best_round_rule(records: Sequence[Record], select_by: str) -> str:
    """How :func:`~fedaffect.server.federation.stopping.best_record` chose, in words."""
    if any(record["dev"] for record in records):
        return f"highest {select_by} on the development split"
    return "last round, as there is no development split"


def describe_run(config: RunSettings, cohort: Cohort, parameters: int) -> dict[str, Any]:
    """What a summary says before any result."""
    return {
        "dataset": config.data.dataset,
        "labels": config.data.labels,
        "label_names": list(cohort.label_names),
        "rating_names": list(cohort.rating_names),
        "modalities": list(config.data.modalities),
        "widths": dict(cohort.widths),
        "partition": config.data.partition,
        "clients": cohort.num_clients,
        "rounds": config.federation.rounds,
        "model": config.model.model,
        "strategy": config.federation.strategy,
        "mode": config.federation.mode,
        "seed": config.federation.seed,
        "fold": config.evaluation.fold,
        "folds_over": config.evaluation.folds_over,
        "engine": config.engine.engine,
        "trainable_parameters": parameters,
        "run": config.run_name,
    }


def summarise_run(
    *,
    config: RunSettings,
    task: Task,
    weights: Tensor,
    records: Sequence[Record],
    best_round: int,
    rule: str,
    run_folder: RunFolder,
    peak_rss_mb: float,
) -> dict[str, Any]:
    """Evaluate the chosen round once on every view of the test split, and put the summary together.

    Parameters
    ----------
    config, task
    weights : Tensor of float32, shape (P,)
        Parameters of the best round.
    records : sequence of mapping
        Lines of ``metrics.jsonl``.
    best_round : int
    rule : str
        How it was chosen.
    run_folder : RunFolder
        Gets the per-sample answers.
    peak_rss_mb : float
    """
    cohort = task.cohort
    views = [evaluate_split(task, weights, split) for split in test_views(cohort)]
    if views:
        run_folder.write_predictions(answers(views, cohort))
    tests = {view.split: view.details(cohort) for view in views}
    last = records[-1]
    # In the first round, workers still import and compile what training needs: it says nothing about speed.
    warm = records[1:] or records
    speed = sum(int(r["clients"]) for r in warm) / sum(float(r["train_seconds"]) for r in warm)
    return {
        **describe_run(config, cohort, task.layout.size),
        "rounds": int(last["round"]),
        "clients_per_round": int(max(record["clients"] + record["failures"] for record in records)),
        "test": tests.get(TEST),
        "test_by_modality": _by_modality(config, task, weights, views[0]) if TEST in tests else {},
        "test_views": {name: details for name, details in tests.items() if name != TEST},
        "dev": evaluate_split(task, weights, DEV).figures if has_rows(cohort, DEV) else None,
        "best_round": best_round,
        "best_round_rule": rule,
        "client_updates": sum(int(record["clients"]) for record in records),
        "client_updates_per_second": speed,
        "bytes_up_per_client_update": int(last["bytes_up"]) // max(1, int(last["clients"])),
        "bytes_down_per_client_update": int(last["bytes_down"]) // max(1, _asked(last)),
        "peak_rss_mb": round(peak_rss_mb, 1),
        "about": dict(cohort.about),
    }


def _by_modality(config: RunSettings, task: Task, weights: Tensor, whole: SplitResult) -> dict[str, Any]:
    """Figures where the model is shown one modality of the test split at a time, and all that there is."""
    # A fleet's cohort may have fewer than its settings name.
    modalities = [modality for modality in config.data.modalities if modality in task.cohort.present]
    if len(modalities) == 1:
        return {}
    alone = {modality: evaluate_alone(task, weights, TEST, modality) for modality in modalities}
    shown = {name: one for name, one in {**alone, FUSED: whole}.items() if one is not None}
    return {name: {**one.figures, "examples": len(one.evaluation.rows)} for name, one in shown.items()}


def _asked(record: Record) -> int:
    late = (record.get("simulated") or {}).get("late", 0) if record["clients"] else 0
    return int(record["clients"] + record["failures"] + record.get("refusals", 0) + late)


def answers(views: Sequence[SplitResult], cohort: Cohort) -> dict[str, NDArray[Any]]:
    """Per-sample answers, for tests of paired differences.

    Returns
    -------
    dict of str to array
        ``rows, labels, predictions, groups`` (N,) and ``probabilities`` (N, C) of the test split, the same with
        ``<view>.`` before for its further views; ``group_names``, ``label_names``. Where ratings are learned,
        ``ratings`` and ``rated`` (N, R).
    """
    arrays: dict[str, NDArray[Any]] = {
        "group_names": np.array(cohort.group_names, dtype=np.str_),
        "label_names": np.array(cohort.label_names, dtype=np.str_),
    }
    for view in views:
        prefix = "" if view.split == TEST else f"{view.split}."
        e = view.evaluation
        arrays[f"{prefix}rows"] = e.rows
        arrays[f"{prefix}labels"] = e.labels
        arrays[f"{prefix}predictions"] = e.predictions
        arrays[f"{prefix}probabilities"] = np.asarray(e.probabilities, dtype=np.float32)
        if cohort.rating_names:
            arrays |= {f"{prefix}ratings": e.ratings, f"{prefix}rated": e.rated}
        arrays[f"{prefix}groups"] = np.asarray(cohort.groups[e.rows], dtype=np.int64)
    return arrays
