"""``fedaffect runs``: what was run, what came out, and whether one is better than another."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from fedaffect.edge.cli.output import stdout
from fedaffect.simulation.finding import find_run

if TYPE_CHECKING:
    from fedaffect.simulation.comparison.compare import Comparison

_out = click.option(
    "--out", type=Path, default=Path("runs"), show_default=True, metavar="DIR", help="Where run folders lie."
)
_WIDE = 220  # a row stays a line
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.group()
def runs() -> None:
    """List, show and compare runs.

    \b
      fedaffect runs list                       every run in runs/, newest figures beside
      fedaffect runs show demo                  one run: settings and figures of each label
      fedaffect runs compare demo demo-upper    is the second better, or only luckier?
      fedaffect runs compare my-sweep           its settings against the first, over all seeds
    """  # noqa: D301


@runs.command("list")
@_out
@_json
def list_runs(out: Path, as_json: bool) -> None:
    """Show every run in a folder, those of sweeps included; damaged ones as such.

    Behind the strategy stands what a run differs in from its corpus's defaults, where its name does not say it.
    """
    from fedaffect.client.figures import FIGURES
    from fedaffect.simulation.run_facts import RunFolders

    found = RunFolders(out).listed()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo(f"no runs in {out} yet; make one with fedaffect simulate", err=True)
        return
    table = Table(title=f"Runs in {out}", title_justify="left")
    for heading in ("run", "dataset", "how", "clients", "rounds", "seed"):
        table.add_column(heading, justify="left" if heading in ("run", "dataset", "how") else "right")
    for heading in FIGURES.values():
        table.add_column(heading, justify="right")
    for facts in found:
        if "damaged" in facts:
            table.add_row(facts["name"], "damaged", style="yellow")
            continue
        figures = [f"{facts['test'][key]:.3f}" if facts["test"] else "–" for key in FIGURES]
        clients = "–" if facts["clients"] is None else f"{facts['clients']:,}"
        rounds = str(facts["rounds"]) if facts["finished"] else f"{facts['rounds']}, unfinished"
        # A name that nobody chose says them already.
        more = [part for part in facts["differences"] if part not in facts["name"]]
        how = f"{facts['how']}; {', '.join(more)}" if more else facts["how"]
        about = _dataset(facts["dataset"]), how, clients, rounds, str(facts["seed"])
        table.add_row(facts["name"], *about, *figures)
    stdout(_WIDE).print(table)
    for facts in found:
        if "damaged" in facts:
            click.echo(f"{facts['name']} is damaged: {facts['damaged']}", err=True)


@runs.command()
@click.argument("run", metavar="RUN")
@_out
@_json
def show(run: str, out: Path, as_json: bool) -> None:
    """Show one run, a name in --out, or a folder such as ./NAME: settings, figures, figures of each label."""
    from fedaffect.simulation.recorded_run import RecordedRun
    from fedaffect.simulation.run_facts import facts as facts_of

    recorded = RecordedRun.read(find_run(run, out))
    if as_json:
        click.echo(json.dumps({"config": recorded.config.to_dict(), "summary": recorded.summary}, indent=2))
        return
    console = stdout()
    facts = facts_of(recorded)
    settings = Table(title=recorded.name, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0))
    for key, value in recorded.config.to_dict().items():
        if value != {}:
            settings.add_row(key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    console.print(settings)
    if not facts["finished"]:
        console.print(f"not finished: {facts['rounds']} rounds so far; fedaffect simulate --resume {recorded.folder}")
        return
    console.print(_by_label(recorded.summary or {}))
    console.print(_figures(recorded.summary or {}), highlight=False, soft_wrap=True)
    if shown := (recorded.summary or {}).get("test_by_modality"):
        console.print(_by_modality(shown))
    if recorded.report.is_file():
        console.print(f"report: {recorded.report}", highlight=False, soft_wrap=True)


@runs.command()
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@_out
@_json
@click.option("--html", type=Path, metavar="FILE", help="Also write a page with tables and charts.")
def compare(names: Sequence[str], out: Path, as_json: bool, html: Path | None) -> None:
    """Test whether further runs differ from the first: over seeds, and over test samples.

    A RUN is a run or a sweep; a sweep counts as one run for each of its settings, with all their seeds.
    """
    from fedaffect.simulation.comparison.compare import compare as compare_sides
    from fedaffect.simulation.comparison.compare import sides_of

    sides = [side for name in names for side in sides_of(find_run(name, out))]
    comparisons = compare_sides(sides)
    if html is not None:
        from fedaffect.edge.system.files import write_whole
        from fedaffect.simulation.report.comparison import comparison_page

        write_whole(html, comparison_page(" and ".join(names), sides, comparisons).encode())
        click.echo(f"page: {html}", err=True)
    if as_json:
        click.echo(json.dumps([comparison.to_json() for comparison in comparisons], indent=2))
        return
    console = stdout()
    for comparison in comparisons:
        console.print(_comparison_table(comparison))
        console.print(comparison.verdict(), highlight=False, soft_wrap=True, style="bold")
        console.print()


def _comparison_table(comparison: Comparison) -> Table:
    from fedaffect.simulation.comparison import words

    table = Table(title=words.title(comparison), title_justify="left")
    for heading in words.HEADINGS:
        table.add_column(heading, justify="right" if heading == "difference" else "left")
    for row in words.rows(comparison):
        table.add_row(*row)
    return table


def _by_label(summary: Mapping[str, Any]) -> Table:
    table = Table(title="Test split", title_justify="left")
    for heading in ("", "recall", "precision", "F1", "samples"):
        table.add_column(heading, justify="left" if not heading else "right")
    test = summary.get("test") or {}
    for label, figures in (test.get("per_class") or {}).items():
        shown = (f"{figures[key]:.3f}" for key in ("recall", "precision", "f1"))
        table.add_row(label, *shown, f"{int(figures['support']):,}")
    return table


def _figures(summary: Mapping[str, Any]) -> str:
    from fedaffect.client.figures import FIGURES
    from fedaffect.server.federation.privacy.words import guarantee

    test = summary.get("test") or {}
    spread = summary.get("test_std") or {}
    figures = [
        f"{name} {test[key]:.3f}" + (f" ± {spread[key]:.3f}" if key in spread else "")
        for key, name in FIGURES.items()
        if key in test
    ]
    found = ", ".join(figures) or "no test split"
    private = f"; {guarantee(summary['privacy'])}" if summary.get("privacy") else ""
    return f"{found}\nbest round {summary.get('best_round')}{private}"


def _by_modality(shown: Mapping[str, Mapping[str, Any]]) -> Table:
    from fedaffect.client.figures import FIGURES

    table = Table(title="Each modality alone, and all together", title_justify="left")
    table.add_column("shown")
    for heading in (*FIGURES.values(), "samples"):
        table.add_column(heading, justify="right")
    for name, figures in shown.items():
        table.add_row(name, *(f"{figures[key]:.3f}" for key in FIGURES), f"{figures['examples']:,}")
    return table


def _dataset(name: str) -> str:
    from fedaffect.client.corpora.base import CONSTRUCTED

    return CONSTRUCTED.get(name, name)
