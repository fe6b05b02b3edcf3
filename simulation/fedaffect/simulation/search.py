"""A search among settings by Optuna, in place of every combination: trials that get nowhere are ended early."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from fedaffect.client.cohort import Cohort
from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import ConfigError, FedAffectError, RunError
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.recorded_run import SWEEP
from fedaffect.simulation.running import Runner
from fedaffect.simulation.sweep import Axis, Member, member_of, write_outcome

STUDY: Final = "search.log"
_NAME: Final = "search"
# Values of a range that spans this factor are drawn by their logarithm.
_WIDE: Final = 10.0
# Trials that run to their end before any is ended early, and the first round in which one may be.
_WHOLE_TRIALS, _FIRST_ROUNDS = 4, 2

RunOne = Callable[[Runner, RunSettings, str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Pruning:
    """An observer that ends a trial whose development figure lies below the median of earlier ones in that round.

    Parameters
    ----------
    trial : Trial
    select_by : str
        The figure.
    """

    trial: Trial
    select_by: str

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Nothing."""

    def round_finished(self, record: RoundRecord) -> None:
        """Report a round that was evaluated.

        Raises
        ------
        TrialPruned
            If the trial is not worth going on with.
        """
        if record.dev:
            self.trial.report(record.dev[self.select_by], record.round)
            if self.trial.should_prune():
                raise optuna.TrialPruned

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Nothing."""


def search(
    runner: Runner,
    settings: Mapping[str, Any],
    axes: Sequence[Axis],
    trials: int,
    folder: Path,
    run_one: RunOne,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Run trials until there are so many; those of an earlier call count, and one that was killed goes on.

    Parameters
    ----------
    runner : Runner
    settings : mapping
        What all have in common, by name in snake_case.
    axes : sequence of Axis
        What is searched: values, or a range.
    trials : int
    folder : Path
        The search's; gets a run for each trial, ``sweep.json`` and Optuna's log.
    run_one : callable
        ``(runner, config, title) -> summary``; takes a finished run as it is, and goes on with one that is begun.
    warn : callable of str
        Told of a trial that failed.

    Returns
    -------
    dict
        As in ``sweep.json``, with the ``best`` trial by the development figure.

    Raises
    ------
    ConfigError
        If the runs have no development figure in their own process to be ended by.
    RunError
        If not one trial finished.
    """
    base = RunSettings.of(settings)
    if base.engine.engine != "ray" or base.federation.mode == "local-only":
        raise ConfigError("--trials compares development figures round by round; use --engine ray, and no --local-only")
    study, seed = _study(folder, base.federation.seed), base.federation.seed
    results = {entry["name"]: entry for entry in _earlier(folder)}
    members = {name: member_of(dict(settings), entry["settings"], seed, folder) for name, entry in results.items()}
    # At once: a search that is killed in its first trial is one to go on with.
    outcome = write_outcome(list(members.values()), list(results.values()), folder, best=_best(study))
    while len(_done(study)) < trials:
        trial = study.ask()
        own = {axis.key: _suggested(trial, axis) for axis in axes}
        member = member_of(dict(settings), own, seed, folder)
        trial.set_user_attr("run", member.name)
        members[member.name] = member
        title = f"trial {len(_done(study)) + 1} of {trials} ({member.name})"
        watched = replace(runner, observers=(*runner.observers, Pruning(trial, member.config.evaluation.select_by)))
        results[member.name] = _carried_out(study, trial, member, partial(run_one, watched, member.config, title), warn)
        whole = [one for one in members.values() if not results[one.name].get("pruned")]
        outcome = write_outcome(whole, list(results.values()), folder, best=_best(study))
    if not _best(study):
        raise RunError(f"not one of {trials} trials finished; see {folder / SWEEP} for what each said")
    return outcome


def _carried_out(
    study: optuna.Study,
    trial: Trial,
    member: Member,
    run: Callable[[], Mapping[str, Any]],
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """A trial's line of ``sweep.json``; Optuna is told too."""
    entry: dict[str, Any] = {"name": member.name, "settings": dict(member.settings), "seed": member.seed}
    try:
        summary = run()
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        return {**entry, "pruned": True}
    except FedAffectError as error:
        trial.set_user_attr("why", str(error))
        study.tell(trial, state=TrialState.FAIL)
        warn(f"{member.name} failed: {error}")
        return {**entry, "error": str(error)}
    if not summary.get("dev"):
        raise ConfigError("--trials chooses on the development split, which this corpus lacks; leave it out")
    study.tell(trial, float(summary["dev"][member.config.evaluation.select_by]))
    test = {key: summary["test"][key] for key in FIGURES} if summary.get("test") else None
    return {**entry, "test": test, "dev": summary["dev"], "best_round": summary["best_round"]}


def _study(folder: Path, seed: int) -> optuna.Study:
    """The search so far; what a killed process had under way is asked for again."""
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / STUDY)))
    study = optuna.create_study(
        storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True, pruner=_pruner()
    )
    # Else a search that goes on would draw again what it drew first.
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    for stale in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(stale.number, state=TrialState.FAIL)
        study.enqueue_trial(stale.params)
    return study


def _pruner() -> optuna.pruners.BasePruner:
    return optuna.pruners.MedianPruner(n_startup_trials=_WHOLE_TRIALS, n_warmup_steps=_FIRST_ROUNDS)


def _done(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that count: also those that failed, but for those whose process was killed."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in ended if trial.state != TrialState.FAIL or "why" in trial.user_attrs]


def _best(study: optuna.Study) -> dict[str, Any]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        return {}
    best = max(complete, key=lambda trial: float(trial.value or 0.0))
    return {"name": best.user_attrs["run"], "dev": best.value, "trials": len(_done(study))}


def _suggested(trial: Trial, axis: Axis) -> str:
    bounds = axis.bounds
    if bounds is None:
        return str(trial.suggest_categorical(axis.key, axis.values))
    low, high = bounds
    if isinstance(low, int) and isinstance(high, int):
        return str(trial.suggest_int(axis.key, low, high))
    return f"{trial.suggest_float(axis.key, low, high, log=low > 0 and high / low >= _WIDE):.6g}"


def _earlier(folder: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads((folder / SWEEP).read_text(encoding="utf-8"))["members"]
        return found
    except FileNotFoundError:
        return []
