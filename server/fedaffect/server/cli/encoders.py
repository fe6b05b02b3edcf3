"""`fedaffect encoders`: teach a device's encoders emotion on public corpora."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

_PATH = click.Path(path_type=Path)


@click.group()
def encoders() -> None:
    """Teach encoders emotion on public corpora, before devices learn the fusion behind them."""


@encoders.group()
def train() -> None:
    """Train one modality's encoder, judge it on development splits, and write a model folder with a card."""


@train.command()
@click.option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Holds a folder of each of goemotions, xed, isear, dailydialog, emobank, meld and emorynlp.",
)
@click.option("--out", type=_PATH, default=Path("encoders/words"), show_default=True, help="A new folder.")
@click.option(
    "--licence",
    type=click.Choice(["non-commercial", "permissive"]),
    default="non-commercial",
    show_default=True,
    help="permissive: teach only by goemotions, xed and emobank, whose licences let an app ship what they taught.",
)
@click.option("--leave-out", metavar="CORPUS", help="Teach without this corpus, and judge on all of it.")
@click.option("--epochs", type=click.IntRange(1), default=2, show_default=True)
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=1e-4, show_default=True)
@click.option("--frozen", type=click.IntRange(0, 6), default=3, show_default=True, help="Layers left as they are.")
@click.option(
    "--most-a-class", type=click.IntRange(1), default=8000, show_default=True, help="Lines of an emotion and epoch."
)
@click.option("--seed", default=0, show_default=True)
@click.option("--export", type=_PATH, metavar="FILE", help="Also write the taught layers alone, in half precision.")
@click.option("--version", default="words-1", show_default=True, help="Version written into that file.")
def words(
    data_dir: Path,
    out: Path,
    licence: str,
    leave_out: str | None,
    epochs: int,
    lr: float,
    frozen: int,
    most_a_class: int,
    seed: int,
    export: Path | None,
    version: str,
) -> None:
    """MiniLM, with tokens for emoji: seven emotions, GoEmotions' finer ones, valence and arousal.

    \b
    Some 20 minutes of one core, an hour of a busy one. Then:
      fedaffect bundle build --text encoders/words --out bundles/taught
    The default fusion fits the default encoders, so train one for the new bundle by `fedaffect simulate --bundle`.
    """  # noqa: D301
    from fedaffect.server.models.encoders.words.recipe import train_words
    from fedaffect.server.models.encoders.words.training import WordsConfig

    config = WordsConfig(epochs=epochs, lr=lr, frozen=frozen, most_a_class=most_a_class, seed=seed)
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("starting", total=None)

        def step(what: str) -> None:
            shown.update(task, description=what, completed=0, total=None)

        def progress(done: int, of: int, loss: float) -> None:
            shown.update(task, description=f"teaching, loss {loss:.2f}", completed=done, total=of)

        written = (export, version) if export else None
        rows = train_words(
            data_dir,
            out,
            config,
            licence=licence,
            leave_out=leave_out,
            export=written,
            progress=progress,
            step=step,
        )
    table = Table("asked about", "lines", "emotions", "UAR", "weighted F1")
    for row in rows:
        found = row.figures
        table.add_row(row.what, str(found.rows), str(found.classes), f"{found.uar:.3f}", f"{found.weighted_f1:.3f}")
    Console().print(table)
    console.print(f"{out} holds the encoder and its card; next: fedaffect bundle build --text {out}", soft_wrap=True)
