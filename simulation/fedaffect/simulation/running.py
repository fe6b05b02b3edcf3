"""From settings to a finished run folder: one run, the folds of a cross-validation, or one retrained with dev."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console

from fedaffect.client.cohort import Cohort
from fedaffect.client.corpora.registry import open_corpus
from fedaffect.client.models.registry import OWN_MODELS, build_model, require_scores
from fedaffect.client.models.registry import PLUGINS as MODELS
from fedaffect.client.stacked.model import require_stackable_model
from fedaffect.edge.errors import BundleError, DataError, RunError
from fedaffect.edge.labels import label_set
from fedaffect.edge.system.cache import in_use
from fedaffect.server.federation.observer import Observer, registered_observers
from fedaffect.server.federation.privacy.checks import check_strategy
from fedaffect.server.federation.run_folder import CONFIG, SUMMARY, RunFolder
from fedaffect.server.federation.settings import FINE_TUNED, RunSettings
from fedaffect.server.federation.strategies.registry import (
    build_strategy,
    complete_options,
    require_suited,
    strategy_entry,
)
from fedaffect.simulation.attacks.registry import Campaign
from fedaffect.simulation.engines import run as run_engine
from fedaffect.simulation.folds import combine_folds
from fedaffect.simulation.live import live
from fedaffect.simulation.pooling import cohort_for
from fedaffect.simulation.preparing.columns import read_columns
from fedaffect.simulation.recorded_run import CHOOSING, RETRAINED
from fedaffect.simulation.report.page import write_report
from fedaffect.simulation.textfile import TextfileObserver
from fedaffect.simulation.traces.registry import check_trace

Summary: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Runner:
    """Carries out runs and shows them.

    Parameters
    ----------
    console : Console
        Where progress goes.
    quiet : bool
        Show nothing but what was left out.
    ensure_bundle : callable, optional
        Builds the edge bundle where it is not there and returns its folder.
    observers : sequence of Observer
        Told of every run, besides those that are installed.
    """

    console: Console
    quiet: bool = False
    ensure_bundle: Callable[[], Path] | None = None
    observers: Sequence[Observer] = ()

    def run(self, config: RunSettings, *, overwrite: bool = False, title: str = "") -> tuple[Path, Summary]:
        """Run from the beginning.

        Parameters
        ----------
        config : RunSettings
        overwrite : bool
            Replace an older run of that name.
        title : str
            Which of several runs this is.

        Returns
        -------
        folder : Path
            The run folder.
        summary : dict
            As in its ``summary.json``.

        Raises
        ------
        FedAffectError
            Of the kind that says what is wrong. A folder that this call made is gone again unless a round was
            committed; one to be overwritten stays until the settings are known to work.
        """
        check_names(config)
        path = config.output.out / config.run_name
        if path.exists() and not overwrite:
            raise RunError(
                f"{path} exists already; go on with it (--resume {path}), replace it (--overwrite), "
                f"or choose another --name"
            )
        composite = _is_composite(config)
        first = config.changed(fold=1) if _has_folds(config) else config.changed(retrain_with_dev=False)
        cohort = self._cohort(first if composite else config)
        folder = RunFolder.create(config, overwrite=overwrite)
        self._say(f"run folder: {path}")
        try:
            if composite:
                return path, self._composite(config, folder, title)
            return path, self._single(config, cohort, folder, title, resume=False)
        except BaseException:
            if not any(path.glob(f"*/{CONFIG}")):
                folder.discard_unstarted()
            raise

    def resume(self, path: Path, config: RunSettings, title: str = "") -> Summary:
        """Go on with a run where it stopped.

        Parameters
        ----------
        path : Path
            Its folder.
        config : RunSettings
            Must agree with the folder's in all that decides what is learned.
        title : str
            Which of several runs this is.

        Raises
        ------
        RunError
            If there is no run, or it was run with other settings.
        """
        folder = RunFolder.open(path)
        folder.require_same(config)
        check_names(config)
        if _is_composite(config):
            folder.continue_with(config)
            return self._composite(config, folder, title)
        return self._single(config, self._cohort(config), folder, title, resume=True)

    def _say(self, words: str) -> None:
        if not self.quiet:
            self.console.print(words, highlight=False, markup=False, soft_wrap=True)

    def _cohort(self, config: RunSettings) -> Path:
        """Prepare, and refuse at once what the cohort cannot give."""

        def ensure_bundle() -> Path:
            # Encoders take a minute to build: only for a corpus that can be read.
            read_columns(open_corpus(config.data.dataset, config.data.data_dir), label_set(config.data.labels))
            if self.ensure_bundle is None:
                raise BundleError("there are no encoders; make them with 'fedaffect bundle build' or give --bundle")
            return self.ensure_bundle()

        path = cohort_for(config, not self.quiet, ensure_bundle=ensure_bundle)
        cohort = Cohort.load(path)
        self._say_unusable(cohort, config)
        if config.federation.mode == FINE_TUNED:
            # Its networks take raw input, and are opened once.
            return path
        config.clients_a_round(cohort.num_clients)
        if config.federation.mode != "local-only":
            build_strategy(config, cohort.num_clients)
        answers = len(cohort.output_names)
        name, options = config.model.model, config.model.model_options
        model = build_model(name, cohort.widths, answers, options, len(cohort.rating_names))
        if (config.engine.cohort_size or 1) > 1:
            require_stackable_model(name, model)
        if name not in OWN_MODELS:
            require_scores(name, model, cohort.gather(cohort.client_rows[:2], train=False), answers)
        return path

    def _say_unusable(self, cohort: Cohort, config: RunSettings) -> None:
        """Say which clips cannot be used, also where little is said; all of them stand in the run's summary."""
        unusable = [(m, *one) for m, named in cohort.about.get("unusable", {}).items() for one in named.items()]
        if not unusable:
            return
        shown = "; ".join(f"{modality} of {name}: {why}" for modality, name, why in unusable[:3])
        said = f"{len(unusable):,} clips of {config.data.dataset} cannot be used, the first: {shown}"
        if config.data.strict:
            raise DataError(f"{said}; put them right, or leave them out without --strict")
        self.console.print(f"left out: {said}", highlight=False, markup=False, soft_wrap=True)

    def _single(self, config: RunSettings, cohort: Path, folder: RunFolder, title: str, *, resume: bool) -> Summary:
        shown = live(self.console, self.quiet, title)
        own = config.federation.mode == FINE_TUNED
        try:
            observers = [*shown, *self.observers, *TextfileObserver.wanted(), *registered_observers(folder.path)]
            for one in shown:
                one.starting("networks" if own else f"--engine {config.engine.engine}")
            with in_use(cohort):
                return _carry_out(own)(config, cohort, folder, observers, resume=resume)
        except KeyboardInterrupt:
            if folder.checkpoints.rounds():
                self._say(f"go on with: fedaffect simulate --resume {folder.path}")
            raise
        finally:
            for one in shown:
                one.close()

    def _composite(self, config: RunSettings, folder: RunFolder, title: str) -> Summary:
        if _has_folds(config):
            summary = self._folds(config, folder, title)
        else:
            summary = self._retrain(config, folder, title)
        summary["run"] = config.run_name
        folder.write_summary(summary)
        write_report(folder.path)
        return summary

    def _folds(self, config: RunSettings, folder: RunFolder, title: str) -> Summary:
        summaries = [
            self._member(
                config.changed(fold=fold, out=folder.path, name=f"fold-{fold}"),
                _joined(title, f"fold {fold} of {config.evaluation.folds}"),
            )
            for fold in range(1, config.evaluation.folds + 1)
        ]
        return combine_folds(summaries)

    def _retrain(self, config: RunSettings, folder: RunFolder, title: str) -> Summary:
        """Choose the number of rounds on the development split, then train again with it for that many."""
        choosing = config.changed(retrain_with_dev=False, out=folder.path, name=CHOOSING)
        chosen = self._member(choosing, _joined(title, "choosing the number of rounds"))
        rounds = int(chosen["best_round"])
        again = config.changed(rounds=rounds, out=folder.path, name=RETRAINED)
        summary = self._member(again, _joined(title, f"with the development split, {rounds} rounds"), single=True)
        before = {key: chosen[key] for key in ("test", "dev", "best_round", "best_round_rule", "rounds")}
        wall = chosen["wall_s"] + summary["wall_s"]
        rule = f"chosen before the development split joined the training data: {chosen['best_round_rule']}"
        return {**summary, "best_round_rule": rule, "choosing": before, "wall_s": wall}

    def _member(self, config: RunSettings, title: str, *, single: bool = False) -> Summary:
        """One run of several: taken as it is if finished, gone on with if begun, else run."""
        path = config.output.out / config.run_name
        if (path / SUMMARY).is_file():
            folder = RunFolder.open(path)
            folder.require_same(config)
            if folder.config.federation.rounds >= config.federation.rounds:
                return folder.summary()
        if (path / CONFIG).is_file():
            if single:
                return self._single(config, self._cohort(config), RunFolder.open(path), title, resume=True)
            return self.resume(path, config, title)
        if single:
            return self._single(config, self._cohort(config), RunFolder.create(config), title, resume=False)
        return self.run(config, title=title)[1]


def _carry_out(own_encoders: bool) -> Callable[..., Summary]:
    if not own_encoders:
        return run_engine
    # Here, not above: transformers takes seconds to import, and runs over features need none of it.
    from fedaffect.simulation.fine_tuning.training import fine_tune

    return fine_tune


def check_names(config: RunSettings) -> None:
    """Refuse unknown names before anything slow begins.

    Raises
    ------
    ConfigError
        Listing those that are known.
    """
    MODELS.find(config.model.model)
    entry = strategy_entry(config.federation.strategy)
    complete_options(entry, config.federation.strategy_options)
    config.training.train_config(algorithm=entry.algorithm)
    check_strategy(config, entry.needs_mean_only, entry.algorithm, config.training.keep_optimizer)
    require_suited(config, entry)
    Campaign.of(config)
    check_trace(config)


def _has_folds(config: RunSettings) -> bool:
    return bool(config.evaluation.folds) and config.evaluation.fold is None


def _is_composite(config: RunSettings) -> bool:
    return _has_folds(config) or config.evaluation.retrain_with_dev


def _joined(*titles: str) -> str:
    return ", ".join(title for title in titles if title)
