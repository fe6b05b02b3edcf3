"""`fedaffect edge bench`: how fast this device is, part by part."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

_FIGURES: Final = ("median_ms", "p90_ms", "processor_ms")


@click.command()
@click.option("--bundle", "bundle_folder", type=click.Path(path_type=Path), help="The default one if not given.")
@click.option("--allow-unsigned", is_flag=True, help="Take a bundle that nobody trusted has signed.")
@click.option(
    "--repeats", default=15, show_default=True, type=click.IntRange(min=1), help="Of each; the median counts."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def bench(bundle_folder: Path | None, allow_unsigned: bool, repeats: int, as_json: bool) -> None:
    """How fast this device is, part by part, on a drawn face, a sound like a voice, and twenty words."""
    from fedaffect.edge.bundle import Bundle, usual_bundle_path
    from fedaffect.edge.runtime.speed import measure_parts

    folder = bundle_folder or usual_bundle_path()
    bundle = Bundle.load(folder, trust=None) if allow_unsigned else Bundle.load(folder)
    parts = measure_parts(bundle, repeats)
    if as_json:
        click.echo(dumps([{"part": part.name} | {f: getattr(part, f) for f in _FIGURES} for part in parts]))
        return
    table = Table("part", "median ms", "p90 ms", "processor ms", title=f"{bundle.version}, one thread")
    for part in parts:
        table.add_row(part.name, f"{part.median_ms:.1f}", f"{part.p90_ms:.1f}", f"{part.processor_ms:.1f}")
    Console().print(table)
