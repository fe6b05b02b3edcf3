"""What ``fedaffect simulate`` does once it knows what is wanted; apart, so that its help comes at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fedaffect.client.figures import FIGURES
from fedaffect.edge.bundle import default_bundle_path
from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.progress import working
from fedaffect.server.federation.privacy.words import guarantee
from fedaffect.server.federation.run_folder import CONFIG, RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.models.bundling.recipe import is_outdated
from fedaffect.simulation.cli.finding import find_run
from fedaffect.simulation.live import duration, size
from fedaffect.simulation.recorded_run import SWEEP
from fedaffect.simulation.running import Runner, check_names
from fedaffect.simulation.sweep import Axis, plan, run_sweep


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed.

    Parameters
    ----------
    settings : dict
        Of the run, by name in snake_case; what is not here suits the corpus.
    axes : tuple of Axis
        Settings to sweep.
    seeds : tuple of int, optional
        Several seeds.
    resume : str, optional
        Name or folder of a run to go on with.
    overwrite, quiet : bool
    """

    settings: dict[str, Any]
    axes: tuple[Axis, ...] = ()
    seeds: tuple[int, ...] | None = None
    resume: str | None = None
    overwrite: bool = False
    quiet: bool = False


def carry_out(request: Request) -> None:
    """Run, resume or sweep, and say how it ended."""
    # torch and Ray's children read these once; a token of chatter on standard error would tear the table.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    console = Console(stderr=True)
    runner = Runner(console, request.quiet, lambda: build_edge_bundle(console, request.quiet))
    if request.axes or request.seeds:
        _sweep(request, runner, console)
        return
    if request.resume is not None:
        settings = dict(request.settings)
        folder = find_run(request.resume, Path(settings.pop("out", "runs")))
        config = RunFolder.open(folder).config.changed(**settings)
        summary = _with_ray(config, request.quiet, lambda: runner.resume(folder, config))
    else:
        config = RunSettings.of(request.settings)
        folder, summary = _with_ray(config, request.quiet, lambda: runner.run(config, overwrite=request.overwrite))
    if not request.quiet:
        _say(folder, summary)


def build_edge_bundle(console: Console, quiet: bool = False) -> Path:
    """Make the encoders that corpora are read with, once; about a minute.

    Parameters
    ----------
    console : Console
    quiet : bool
        Do not say so.
    """
    from fedaffect.server.models.bundling.build import STEPS, BuildConfig, build_bundle

    target = default_bundle_path("edge")
    if not quiet:
        why = "again: an older recipe made those there" if is_outdated(target) else "this once"
        console.print(f"building the edge encoders in {target}, {why}", highlight=False, soft_wrap=True)
    with working("building the edge encoders", STEPS, shown=not quiet) as done:
        build_bundle(BuildConfig(), target, lambda step: done(1))
    return target


def _with_ray(config: RunSettings, quiet: bool, work: Any) -> Any:
    """Do some work with one Ray for all its runs, where there are several."""
    several = config.evaluation.folds or config.evaluation.retrain_with_dev
    with _shared_ray(config, quiet) if several else nullcontext():
        return work()


@contextmanager
def _shared_ray(config: RunSettings, quiet: bool) -> Iterator[None]:
    engine = config.engine
    if engine.engine != "ray":
        yield
        return
    from fedaffect.server.ray_session import ray_session

    with ExitStack() as stack:
        with working(f"joining Ray at {engine.ray_address}" if engine.ray_address else "starting Ray", shown=not quiet):
            stack.enter_context(ray_session(engine.ray_address, engine.actors))
        yield


def _sweep(request: Request, runner: Runner, console: Console) -> None:
    base = RunSettings.of(request.settings)
    seeds = request.seeds or (base.federation.seed,)
    keys = "-".join(axis.key.rpartition(".")[2].replace("_", "-") for axis in request.axes)
    name = base.output.name or f"{base.data.dataset}-{keys + '-' if keys else ''}{'sweep' if keys else 'seeds'}"
    folder = base.output.out / name
    if folder.exists() and not (folder / SWEEP).is_file() and any(folder.iterdir()):
        raise RunError(f"{folder} exists and is no sweep; choose another --name")
    members = plan(request.settings, request.axes, seeds, folder)
    for member in members:
        check_names(member.config)

    def run_one(config: RunSettings, title: str) -> Mapping[str, Any]:
        path = config.output.out / config.run_name
        if request.overwrite or not (path / CONFIG).is_file():
            return runner.run(config, overwrite=request.overwrite, title=title)[1]
        stored = RunFolder.open(path)
        stored.require_same(config)
        if (path / "summary.json").is_file():
            return stored.summary()
        return runner.resume(path, config, title)

    def warn(words: str) -> None:
        console.print(words, style="yellow", highlight=False, markup=False, soft_wrap=True)

    with _shared_ray(base, request.quiet):
        outcome = run_sweep(members, folder, run_one, warn)
    if not request.quiet:
        stdout().print(sweep_table(outcome["groups"], name))
        stdout().print(f"compare: fedaffect runs compare {folder}", highlight=False, soft_wrap=True)


def sweep_table(groups: Sequence[Mapping[str, Any]], name: str) -> Table:
    """Mean ± standard deviation over seeds, a row each setting."""
    table = Table(title=name, title_justify="left")
    for heading in ("setting", "seeds", *(f"test {FIGURES[figure]}" for figure in FIGURES)):
        table.add_column(heading, justify="left" if heading == "setting" else "right")
    for group in groups:
        failed = f" ({len(group['failed'])} failed)" if group["failed"] else ""
        figures = [plus_minus(group["test"][key]) if group["test"] else "–" for key in FIGURES]
        table.add_row(group["name"] or "as given", f"{len(group['seeds'])}{failed}", *figures)
    return table


def plus_minus(figure: Mapping[str, Any]) -> str:
    """``0.612 ± 0.004``; without spread where there is one value."""
    spread = f" ± {figure['std']:.3f}" if figure["std"] is not None else ""
    return f"{figure['mean']:.3f}{spread}"


def _say(folder: Path, summary: Mapping[str, Any]) -> None:
    console = stdout()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    test, spread = summary.get("test"), _spread(summary)
    if test:
        said = "test (synthetic data)" if summary["dataset"] == "synthetic" else "test"
        table.add_row(said, _figures(test, spread))
    for view, figures in (summary.get("test_views") or {}).items():
        table.add_row(view, _figures(figures, {}))
    table.add_row("best round", f"{summary['best_round']} of {summary['rounds']} ({summary['best_round_rule']})")
    if summary.get("privacy"):
        table.add_row("privacy", guarantee(summary["privacy"]))
    table.add_row(
        "speed",
        f"{summary['client_updates_per_second']:,.1f} client updates/s, {size(summary['bytes_up_per_client_update'])} "
        f"up and {size(summary['bytes_down_per_client_update'])} down for each, in {duration(summary['wall_s'])}",
    )
    table.add_row("run folder", str(folder))
    table.add_row("report", str(folder / "report.html"))
    console.print(table, highlight=False, soft_wrap=True)


def _figures(test: Mapping[str, Any], spread: Mapping[str, float]) -> str:
    return "   ".join(
        f"{FIGURES[key]} {test[key]:.3f}" + (f" ± {spread[key]:.3f}" if key in spread else "") for key in FIGURES
    )


def _spread(summary: Mapping[str, Any]) -> dict[str, float]:
    """Standard deviations to show: over folds, or over clients that learned alone."""
    if summary.get("mode") == "local-only" and not summary.get("folds"):
        owners = (summary.get("test") or {}).get("owners") or {}
        return {key: owners[f"{key}_std"] for key in FIGURES if f"{key}_std" in owners}
    return dict(summary.get("test_std") or {})
