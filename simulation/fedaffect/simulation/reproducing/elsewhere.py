"""What a model answers on a corpus that it never saw."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedaffect.client.cohort import Cohort
from fedaffect.client.metrics import per_class, summarise
from fedaffect.client.task import ClientTask
from fedaffect.edge.errors import RunError
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.prepare import prepare
from fedaffect.simulation.recorded_run import RecordedRun
from fedaffect.simulation.running import Runner


def answers_elsewhere(run: RecordedRun, other: RunSettings, runner: Runner) -> dict[str, Any]:
    """Figures of a run's best round on all of another corpus.

    Parameters
    ----------
    run : RecordedRun
        Finished; of one model.
    other : RunSettings
        How the other corpus is read, by the same encoders; its split does not matter, as none of it was learned from.
    runner : Runner
        Builds the encoders where they are not there.

    Returns
    -------
    dict
        The figures, ``per_class``, ``confusion`` and ``examples``.

    Raises
    ------
    RunError
        If the corpus has other streams than the model.
    """
    cohort = Cohort.load(prepare(other, not runner.quiet, ensure_bundle=runner.ensure_bundle))
    known = (run.summary or {}).get("widths")
    if cohort.widths != known:
        raise RunError(f"{other.data.dataset} gives streams {cohort.widths}, and {run.name} learned from {known}")
    task = ClientTask(cohort, run.config.model.model, run.config.model.model_options)
    rows = np.unique(np.concatenate([cohort.client_rows, *cohort.splits.values()]))
    evaluation = task.evaluate(task.layout.flatten(run.checkpoint().arrays), rows)
    return {
        **summarise(evaluation.confusion),
        "loss": evaluation.loss_sum / len(rows),
        "per_class": per_class(evaluation.confusion, cohort.label_names),
        "confusion": evaluation.confusion.tolist(),
        "examples": len(rows),
    }
