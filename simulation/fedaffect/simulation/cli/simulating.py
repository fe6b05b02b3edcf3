"""What ``fedaffect simulate`` does once it knows what is wanted; apart, so that its help comes at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fedaffect.client.corpora.base import CONSTRUCTED
from fedaffect.client.figures import FIGURES
from fedaffect.edge.cli.output import stdout
from fedaffect.server.federation.privacy.words import guarantee
from fedaffect.server.federation.run_folder import PAGE, RunFolder
from fedaffect.server.federation.settings import FINE_TUNED, RunSettings
from fedaffect.server.federation.summary import FUSED
from fedaffect.simulation.edge_bundle import build_edge_bundle
from fedaffect.simulation.finding import find_run
from fedaffect.simulation.live import duration, size
from fedaffect.simulation.many_runs import run_many, shared_ray
from fedaffect.simulation.report.comparison import write_sweep_report
from fedaffect.simulation.running import Runner
from fedaffect.simulation.sweep import Axis


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
    trials : int, optional
        Of a search among the axes.
    """

    settings: dict[str, Any]
    axes: tuple[Axis, ...] = ()
    seeds: tuple[int, ...] | None = None
    resume: str | None = None
    overwrite: bool = False
    quiet: bool = False
    trials: int | None = None


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
        with shared_ray(config, request.quiet):
            summary = runner.resume(folder, config)
    else:
        config = RunSettings.of(request.settings)
        with shared_ray(config, request.quiet):
            folder, summary = runner.run(config, overwrite=request.overwrite)
    if not request.quiet:
        _say(folder, summary)


def _sweep(request: Request, runner: Runner, console: Console) -> None:
    def warn(words: str) -> None:
        console.print(words, style="yellow", highlight=False, markup=False, soft_wrap=True)

    folder, outcome = run_many(
        runner, request.settings, request.axes, request.seeds, request.overwrite, warn, request.trials
    )
    failed = [f"{member['name']}: {member['error']}" for member in outcome["members"] if "error" in member]
    tested = any(member.get("test") for member in outcome["members"])
    report = write_sweep_report(folder, failed) if tested else None
    if not request.quiet:
        stdout(220).print(sweep_table(outcome["groups"], folder.name))
        if report is not None:
            stdout().print(f"report: {report}", highlight=False, soft_wrap=True)
        if best := outcome.get("best"):
            said = f"best on development of {best['trials']} trials: {best['name']} ({best['dev']:.3f})"
            stdout().print(said, highlight=False, soft_wrap=True)
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
        made = CONSTRUCTED.get(summary["dataset"])
        said = "test" if made is None else f"test ({made})"
        table.add_row(said, _figures(test, spread))
    if test and "ccc" in test:
        rated = (f"{name} {test[f'{name}_ccc']:.3f} (error {test[f'{name}_mae']:.3f})" for name in _rated(summary))
        table.add_row("ratings, CCC", "   ".join(rated))
    alone = {f"{name} alone": one for name, one in (summary.get("test_by_modality") or {}).items() if name != FUSED}
    for view, figures in {**alone, **(summary.get("test_views") or {})}.items():
        table.add_row(view, _figures(figures, {}))
    table.add_row("best round", f"{summary['best_round']} of {summary['rounds']} ({summary['best_round_rule']})")
    if summary.get("privacy"):
        table.add_row("privacy", guarantee(summary["privacy"]))
    if summary.get("stopped_early"):
        table.add_row("stopped early", summary["stopped_early"])
    table.add_row("speed", _speed(summary))
    for name, network in (summary.get("networks") or {}).items():
        learned = f"{network['learned']:,} of {network['parameters']:,} parameters learned"
        table.add_row(name, f"{folder / network['folder']} ({network['source']}, {learned})")
    if summary.get("client_failures"):
        table.add_row("failures", _failures(summary))
    table.add_row("run folder", str(folder))
    table.add_row("report", str(folder / PAGE))
    console.print(table, highlight=False, soft_wrap=True)


def _speed(summary: Mapping[str, Any]) -> str:
    if summary.get("mode") == FINE_TUNED:
        return f"{summary['rounds']} epochs in {duration(summary['wall_s'])}"
    return (
        f"{summary['client_updates_per_second']:,.1f} client updates/s, {size(summary['bytes_up_per_client_update'])} "
        f"up and {size(summary['bytes_down_per_client_update'])} down for each, in {duration(summary['wall_s'])}"
    )


def _failures(summary: Mapping[str, Any]) -> str:
    """``3 in 2 rounds, 1 rejected, 2 dropped out: the most frequent first reason``."""
    kinds = {"rejected_updates": "rejected", "dropouts": "dropped out"}
    said = "".join(f", {summary[key]} {word}" for key, word in kinds.items() if summary.get(key))
    where = f" in {summary['failed_rounds']} rounds" if summary.get("failed_rounds") else ""
    reason = next(iter(summary.get("failure_reasons") or ()), "")
    return f"{summary['client_failures']}{where}{said}{f': {reason}' if reason else ''}"


def _figures(test: Mapping[str, Any], spread: Mapping[str, float]) -> str:
    return "   ".join(
        f"{FIGURES[key]} {test[key]:.3f}" + (f" ± {spread[key]:.3f}" if key in spread else "") for key in FIGURES
    )


def _rated(summary: Mapping[str, Any]) -> list[str]:
    return [name for name in summary.get("rating_names", ()) if f"{name}_ccc" in summary["test"]]


def _spread(summary: Mapping[str, Any]) -> dict[str, float]:
    """Standard deviations to show: over folds, or over clients that learned alone."""
    if summary.get("mode") == "local-only" and not summary.get("folds"):
        owners = (summary.get("test") or {}).get("owners") or {}
        return {key: owners[f"{key}_std"] for key in FIGURES if f"{key}_std" in owners}
    return dict(summary.get("test_std") or {})
