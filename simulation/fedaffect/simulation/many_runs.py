"""Several runs in one Ray: every combination of some settings with every seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fedaffect.edge.errors import RunError
from fedaffect.edge.system.progress import working
from fedaffect.server.federation.run_folder import CONFIG, SUMMARY, RunFolder
from fedaffect.server.federation.settings import FINE_TUNED, RunSettings
from fedaffect.simulation.recorded_run import SWEEP
from fedaffect.simulation.running import Runner, check_names
from fedaffect.simulation.sweep import Axis, plan, run_sweep


def run_many(
    runner: Runner,
    settings: Mapping[str, Any],
    axes: Sequence[Axis],
    seeds: Sequence[int] | None,
    overwrite: bool,
    warn: Callable[[str], None],
    trials: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Run all members of a sweep; those that are finished are taken as they are, those begun go on.

    Parameters
    ----------
    runner : Runner
    settings : mapping
        What all have in common, by name in snake_case.
    axes : sequence of Axis
        Settings to sweep.
    seeds : sequence of int, optional
        The seed of the settings if not given.
    overwrite : bool
        Run finished members again.
    warn : callable of str
        Told of a member that failed.
    trials : int, optional
        Search with so many trials instead of running every combination.

    Returns
    -------
    folder : Path
        The sweep's.
    outcome : dict
        As in its ``sweep.json``.

    Raises
    ------
    FedAffectError
        If a combination is no valid run, the folder holds something else, or not one member finished.
    """
    base = RunSettings.of(settings)
    keys = "-".join(axis.key.rpartition(".")[2].replace("_", "-") for axis in axes)
    name = base.output.name or f"{base.data.dataset}-{keys + '-' if keys else ''}{'sweep' if keys else 'seeds'}"
    folder = base.output.out / name
    if folder.exists() and not (folder / SWEEP).is_file() and any(folder.iterdir()):
        raise RunError(f"{folder} exists and is no sweep; choose another --name")

    def run_one(runner: Runner, config: RunSettings, title: str) -> Mapping[str, Any]:
        path = config.output.out / config.run_name
        if overwrite or not (path / CONFIG).is_file():
            return runner.run(config, overwrite=overwrite, title=title)[1]
        stored = RunFolder.open(path)
        stored.require_same(config)
        if (path / SUMMARY).is_file():
            return stored.summary()
        return runner.resume(path, config, title)

    if trials is not None:
        # Here, not above: a grid needs no Optuna.
        from fedaffect.simulation.search import search

        with shared_ray(base, runner.quiet, several=True):
            return folder, search(runner, settings, axes, trials, folder, run_one, warn)
    members = plan(dict(settings), axes, seeds or (base.federation.seed,), folder)
    for member in members:
        check_names(member.config)
    with shared_ray(base, runner.quiet, several=True):
        return folder, run_sweep(members, folder, partial(run_one, runner), warn)


@contextmanager
def shared_ray(config: RunSettings, quiet: bool, several: bool = False) -> Iterator[None]:
    """One Ray for all runs, where a call makes several with an engine that needs it."""
    engine = config.engine
    several = several or bool(config.evaluation.folds) or config.evaluation.retrain_with_dev
    if engine.engine != "ray" or not several or config.federation.mode == FINE_TUNED:
        yield
        return
    from fedaffect.server.ray_session import ray_session

    with ExitStack() as stack:
        with working(f"joining Ray at {engine.ray_address}" if engine.ray_address else "starting Ray", shown=not quiet):
            stack.enter_context(ray_session(engine.ray_address, engine.actors))
        yield
