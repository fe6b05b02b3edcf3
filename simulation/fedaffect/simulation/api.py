"""``fedaffect.simulate``: a run or several from Python, with settings by the names of the command's flags."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, overload

from rich.console import Console

from fedaffect.client.algorithms.base import LocalAlgorithm
from fedaffect.client.cohort import Cohort
from fedaffect.client.corpora.base import Corpus
from fedaffect.client.corpora.registry import CorpusFactory
from fedaffect.client.models.registry import ModelBuilder
from fedaffect.client.plugins import Offer, offering
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.strategies.registry import StrategyEntry
from fedaffect.server.starting_point import with_start
from fedaffect.simulation.edge_bundle import build_edge_bundle
from fedaffect.simulation.finding import find_run
from fedaffect.simulation.given import Given
from fedaffect.simulation.many_runs import run_many, shared_ray
from fedaffect.simulation.partition.registry import Partitioner
from fedaffect.simulation.partition.rows import Partition
from fedaffect.simulation.recorded_run import RecordedRun
from fedaffect.simulation.running import Runner
from fedaffect.simulation.sweep import Axis

OnRound: TypeAlias = Callable[[RoundRecord], object]
Divide: TypeAlias = Callable[..., Partition]


@dataclass(frozen=True, slots=True)
class SweptRuns:
    """Several runs that differ in their seed or in swept settings.

    Parameters
    ----------
    folder : Path
        Holds a folder a run, and ``sweep.json``.
    groups : sequence of mapping
        A line a setting: ``name``, ``seeds``, and ``test`` with mean, standard deviation and values of each figure.
    runs : mapping of str to RecordedRun
        Those that finished, by name: ``"lr=0.01,seed=0"``.
    """

    folder: Path
    groups: Sequence[Mapping[str, Any]]
    runs: Mapping[str, RecordedRun]


@dataclass(frozen=True, slots=True)
class _Callback:
    """An observer that hands on each round."""

    on_round: OnRound

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Nothing."""

    def round_finished(self, record: RoundRecord) -> None:
        """Hand it on."""
        self.on_round(record)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Nothing: the caller gets the whole run."""


@overload
def simulate(
    *,
    dataset: str | Corpus | CorpusFactory = ...,
    strategy: str | StrategyEntry = ...,
    model: str | ModelBuilder = ...,
    partition: str | Partitioner | Divide | None = ...,
    algorithm: type[LocalAlgorithm] | None = ...,
    on_round: OnRound | None = ...,
    seeds: None = ...,
    sweep: None = ...,
    resume: str | Path | None = ...,
    overwrite: bool = ...,
    progress: bool = ...,
    **settings: Any,
) -> RecordedRun: ...


@overload
def simulate(
    *,
    dataset: str | Corpus | CorpusFactory = ...,
    strategy: str | StrategyEntry = ...,
    model: str | ModelBuilder = ...,
    partition: str | Partitioner | Divide | None = ...,
    algorithm: type[LocalAlgorithm] | None = ...,
    on_round: OnRound | None = ...,
    seeds: Sequence[int] | None = ...,
    sweep: Mapping[str, Sequence[Any]] | None = ...,
    resume: None = ...,
    overwrite: bool = ...,
    progress: bool = ...,
    **settings: Any,
) -> SweptRuns: ...


def simulate(
    *,
    dataset: str | Corpus | CorpusFactory | None = None,
    strategy: str | StrategyEntry | None = None,
    model: str | ModelBuilder | None = None,
    partition: str | Partitioner | Divide | None = None,
    algorithm: type[LocalAlgorithm] | None = None,
    on_round: OnRound | None = None,
    seeds: Sequence[int] | None = None,
    sweep: Mapping[str, Sequence[Any]] | None = None,
    resume: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **settings: Any,
) -> RecordedRun | SweptRuns:
    """Let simulated clients learn together, as ``fedaffect simulate`` does.

    Parameters
    ----------
    dataset : str, Corpus or class of Corpus
        Name of a corpus, with ``data_dir`` beside it; or one's own. The synthetic one if not given.
    strategy : str or StrategyEntry
        Name of a strategy, or one's own.
    model : str or callable
        Name of a fusion model, or a function ``(widths, num_classes, **options)`` that returns a torch module.
    partition : str, Partitioner or callable
        Specification such as ``"dirichlet:0.5:100"``, or a function ``(rows, seed)`` that returns a `Partition`.
    algorithm : class of LocalAlgorithm, optional
        What clients run for a strategy of one's own that asks for it by a name with ``@``.
    on_round : callable, optional
        Called with a `RoundRecord` after each round.
    seeds : sequence of int, optional
        Run with each of them.
    sweep : mapping of str to sequence, optional
        Run with each value of a setting: ``{"lr": [0.1, 0.01], "strategy_options.server-lr": [0.5, 1]}``.
    resume : str or Path, optional
        Folder of a run to go on with; objects that it was given are given again.
    overwrite : bool
        Replace a run of the same name.
    progress : bool
        Show progress on standard error.
    **settings
        Every other setting by the name of its flag: ``data_dir``, ``rounds``, ``lr``, ``folds``, ``out``, ``name``, …

    Returns
    -------
    RecordedRun
        The finished run; of several seeds or a sweep, `SweptRuns`.

    Raises
    ------
    FedAffectError
        Of the kind that says what is wrong: a setting, the corpus, a plug-in, learning itself.
    """
    _require_kinds(on_round, seeds, sweep)
    given = Given()
    named = {
        "dataset": None if dataset is None else given.dataset(dataset),
        "strategy": None if strategy is None else given.strategy(strategy),
        "model": None if model is None else given.model(model),
        "partition": None if partition is None else given.partition(partition),
    }
    if algorithm is not None:
        given.algorithm(algorithm, strategy)
    chosen = with_start({**settings, **{name: value for name, value in named.items() if value is not None}})
    # Ray's workers read this once; what tokenizers say of forks would tear the table.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    console = Console(stderr=True)
    observers = [] if on_round is None else [_Callback(on_round)]
    runner = Runner(console, not progress, lambda: build_edge_bundle(console, not progress), observers)
    with offering(given.objects):
        if seeds is not None or sweep is not None:
            if resume is not None:
                raise ConfigError("a sweep is not resumed: call it again, and members that are finished are kept")
            axes = [Axis(key.replace("-", "_"), tuple(map(str, values))) for key, values in (sweep or {}).items()]
            return _swept(run_many(runner, chosen, axes, seeds, overwrite, console.print), given.objects)
        folder = _run(runner, chosen, None if resume is None else Path(resume), overwrite)
    return RecordedRun.read(folder, given.objects)


def _require_kinds(on_round: object, seeds: object, sweep: object) -> None:
    """Before anything slow begins: a round is learned before ``on_round`` is called."""
    if on_round is not None and not callable(on_round):
        raise ConfigError(f"on_round is called with each round, and {on_round!r:.40} cannot be; give a function")
    if seeds is not None and (isinstance(seeds, str) or not isinstance(seeds, Iterable)):
        raise ConfigError(f"seeds is a list of whole numbers, not {seeds!r:.40}; write [0, 1]")
    lists = list(sweep.values()) if isinstance(sweep, Mapping) else [None]
    if sweep is not None and any(isinstance(each, str) or not isinstance(each, Iterable) for each in lists):
        raise ConfigError('sweep gives each setting a list of values; write {"lr": [0.1, 0.01]}')


def _run(runner: Runner, settings: Mapping[str, Any], resume: Path | None, overwrite: bool) -> Path:
    if resume is not None:
        stored = RunFolder.open(resume)
        config = stored.config.changed(**settings)
        with shared_ray(config, runner.quiet):
            runner.resume(stored.path, config)
        return stored.path
    config = RunSettings.of(settings)
    with shared_ray(config, runner.quiet):
        return runner.run(config, overwrite=overwrite)[0]


def _swept(done: tuple[Path, Mapping[str, Any]], objects: Offer) -> SweptRuns:
    folder, outcome = done
    finished = [member["name"] for member in outcome["members"] if "error" not in member]
    runs = {name: RecordedRun.read(folder / name.replace("/", "_"), objects) for name in finished}
    return SweptRuns(folder, outcome["groups"], runs)


def open_run(run: str | Path, *, out: str | Path = "runs", model: ModelBuilder | None = None) -> RecordedRun:
    """A run read back from its folder.

    Parameters
    ----------
    run : str or Path
        Its folder, or its name in ``out``.
    out : str or Path
        Where run folders lie.
    model : callable, optional
        The model that the run was given, where that was an object: for `RecordedRun.model`.

    Raises
    ------
    RunError
        If there is no such run, or it is damaged.
    """
    given = Given()
    if model is not None:
        given.model(model)
    return RecordedRun.read(find_run(run, Path(out)), given.objects)
