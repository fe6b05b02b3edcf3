"""`fedaffect edge bench`: how fast this device is, part by part."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from fedaffect.edge.cli.asking import bundle_options, open_bundle

_FIGURES: Final = ("median_ms", "p90_ms", "processor_ms")


@click.command()
@bundle_options
@click.option(
    "--repeats", default=15, show_default=True, type=click.IntRange(min=1), help="Of each; the median counts."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def bench(bundle_folder: Path | None, allow_unsigned: bool, repeats: int, as_json: bool) -> None:
    """How fast this device is, part by part, on a drawn face, a sound like a voice, and twenty words."""
    from fedaffect.edge.runtime.speed import measure_parts

    bundle = open_bundle(bundle_folder, allow_unsigned)
    parts = measure_parts(bundle, repeats)
    if as_json:
        click.echo(dumps([{"part": part.name} | {f: getattr(part, f) for f in _FIGURES} for part in parts]))
        return
    table = Table("part", "median ms", "p90 ms", "processor ms", title=f"{bundle.version}, one thread")
    for part in parts:
        table.add_row(part.name, f"{part.median_ms:.1f}", f"{part.p90_ms:.1f}", f"{part.processor_ms:.1f}")
    Console().print(table)
