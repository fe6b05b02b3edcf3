"""`fedaffect bundle`: build the encoders that a device runs, and show what a bundle holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from edge_runtime.bundle import Bundle, Manifest, default_bundle_path
from edge_runtime.errors import BundleError
from server.bundling.recipe import VERSION, is_outdated


@click.group()
def bundle() -> None:
    """Build or show the encoders that a device runs."""


@bundle.command()
@click.option("--profile", default="edge", show_default=True, help="Named set of encoders.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the bundle; in the cache if not given.")
@click.option("--text", metavar="PATH_OR_HUB_ID", help="A BERT-family model instead of the packaged MiniLM.")
@click.option(
    "--speech", metavar="PATH_OR_HUB_ID", help="A Wav2Vec2, HuBERT, WavLM or Whisper model instead of Whisper tiny.en."
)
@click.option("--vision", metavar="PATH_OR_HUB_ID", help="A ViT instead of EfficientNet-Lite0.")
@click.option(
    "--fusion",
    type=click.Path(path_type=Path),
    metavar="RUN_FOLDER|FILE",
    help="A run whose best round decides, or a safetensors file, instead of the fusion that this project trained.",
)
@click.option("--quantise/--no-quantise", default=True, show_default=True, help="INT8 where faster and faithful.")
@click.option(
    "--if-missing",
    is_flag=True,
    help="Do nothing where a sound bundle lies already, but for one in the cache that an older recipe made.",
)
def build(profile: str, out: Path | None, if_missing: bool, **choices: Any) -> None:
    """Make ONNX encoders, quantise and measure them, and write a manifest."""
    target = out or default_bundle_path(profile)
    console = Console(stderr=True)
    if if_missing and _sound(target):
        if out is not None or not is_outdated(target):
            if console.is_terminal:
                console.print(f"{target} is there already")
            return
        console.print(f"{target} was made by another recipe than {VERSION}, making it anew", soft_wrap=True)
    # Here, not above: torch and transformers take seconds to import, which `show` need not wait for.
    from server.bundling.build import STEPS, BuildConfig, build_bundle

    config = BuildConfig(profile=profile, **choices)
    columns = TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=STEPS)

        def report(step: str) -> None:
            progress.update(task, description=step, advance=1)

        manifest = build_bundle(config, target, report)
    Console().print(_table(manifest, target))


@bundle.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def show(folder: Path | None) -> None:
    """Check a bundle's files and say what it holds."""
    folder = folder or default_bundle_path()
    Console().print(_table(Bundle.load(folder).manifest, folder))


def _sound(folder: Path) -> bool:
    try:
        Bundle.load(folder)
    except BundleError:
        return False
    return True


def _table(manifest: Manifest, folder: Path) -> Table:
    title = f"{folder}\nprofile {manifest.profile}, version {manifest.version}, {manifest.created}"
    table = Table("", "from", "precision", "width", "tokens/s", "MB", "ms on one core", "cosine", title=title)
    for modality, entry in manifest.encoders.items():
        latency, fidelity = entry.latency_ms, entry.fidelity
        times = [f"{name.upper()} {latency[name]}" for name in ("fp32", "int8") if name in latency]
        table.add_row(
            modality,
            f"{entry.source.package}\n{entry.source.version}".strip(),
            entry.precision,
            str(entry.width),
            f"{entry.tokens_per_second:g}" if entry.tokens_per_second else "a piece",
            f"{sum(file.size_bytes for file in entry.files) / 1e6:.1f}",
            "\n".join([*times, str(latency.get("input", ""))]),
            str(fidelity.get("int8_cosine", fidelity.get("cosine", ""))),
        )
    return table
