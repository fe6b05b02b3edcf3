"""``fedaffect reproduce``: the papers' tables, ours beside what was published."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table as Shown

from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import RunError

_EPILOG = """\b
Examples:
  fedaffect reproduce list                                  which tables there are
  fedaffect reproduce cmt-table1 --data-dir ~/corpora       a folder for each corpus in it
  fedaffect reproduce mfer --data-dir ~/corpora             all tables of one paper
  fedaffect reproduce fusions --data-dir ~/corpora --only mosi
  fedaffect reproduce all --data-dir ~/corpora --quick      does every row run?
"""


@click.command(epilog=_EPILOG)
@click.argument("table", metavar="TABLE")
@click.option(
    "--data-dir",
    type=Path,
    metavar="DIR",
    help="Corpora in their official layouts, and weights.",
)
@click.option(
    "--out", type=Path, default=Path("reproduced"), show_default=True, metavar="DIR", help="Gets a folder a table."
)
@click.option("--only", default="", metavar="WORDS", help="Run only rows with these words in their name.")
@click.option("--quick", is_flag=True, help="Two rounds, one seed, one fold: whether it runs, no figures.")
@click.option("--overwrite", is_flag=True, help="Run finished rows again.")
@click.option("--actors", type=click.IntRange(min=1), metavar="N", help="Ray actors; one a core if not given.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
def reproduce(
    table: str,
    data_dir: Path | None,
    out: Path,
    only: str,
    quick: bool,
    overwrite: bool,
    actors: int | None,
    quiet: bool,
) -> None:
    """Make a table of the papers again: a name of 'list', a paper's short name, or 'all'.

    Runs row by row, goes on where an earlier call stopped, and leaves table.md, table.json and figures/ in
    --out. A corpus that is not at hand keeps its row, marked so. What was published stands beside ours with
    its source and protocol. The best round is chosen on development data, and test is read once a run.
    """
    if table == "list":
        _list()
        return
    failed = _run(table, data_dir, out, only, quick, overwrite, actors, quiet)
    if failed:
        raise RunError(f"{len(failed)} rows failed, the first: {failed[0]}; the same command tries them again")


def _run(
    name: str,
    data_dir: Path | None,
    out: Path,
    only: str,
    quick: bool,
    overwrite: bool,
    actors: int | None,
    quiet: bool,
) -> list[str]:
    """What went wrong, a line a row."""
    from rich.console import Console

    from fedaffect.simulation.edge_bundle import build_edge_bundle
    from fedaffect.simulation.reproducing.at_hand import AtHand
    from fedaffect.simulation.reproducing.registry import tables_of
    from fedaffect.simulation.reproducing.running import Reproduction
    from fedaffect.simulation.reproducing.writing import MARKDOWN
    from fedaffect.simulation.running import Runner

    console = Console(stderr=True)

    def say(words: str) -> None:
        if not quiet:
            console.print(words, highlight=False, markup=False, soft_wrap=True)

    runner = Runner(console, True, lambda: build_edge_bundle(console, quiet))
    reproduction = Reproduction(runner, AtHand(data_dir), out, quick, overwrite, actors, say)
    failed: list[str] = []
    tables = tables_of(name)
    if not any(only.lower() in row.name.lower() for table in tables for row in table.rows) and only:
        raise RunError(f"no row of {name} has {only!r} in its name; their names stand in table.md")
    for table in tables:
        result = reproduction.run(table, only)
        failed += [f"{table.name}, {one.row.name}: {one.why_not}" for one in result.failed]
        if not quiet:
            measured = sum(bool(one.tests) for one in result.rows) + sum(one.found is not None for one in result.counts)
            lines = len(result.rows) + len(result.counts)
            words = f"{table.name}: {measured} of {lines} rows measured; {result.folder / MARKDOWN}"
            stdout().print(words, highlight=False, soft_wrap=True)
    return failed


def _list() -> None:
    from fedaffect.simulation.reproducing.registry import TABLES

    shown = Shown(title="Tables", title_justify="left")
    for heading in ("name", "what", "source", "rows", "corpora"):
        shown.add_column(heading, justify="right" if heading == "rows" else "left", overflow="fold")
    for table in TABLES.values():
        corpora = [row.dataset for row in table.rows if row.dataset] + [count.dataset for count in table.counts]
        rows = len(table.rows) or len(table.counts)
        shown.add_row(table.name, table.title, table.source, str(rows), " ".join(dict.fromkeys(corpora)))
    stdout(200).print(shown)
