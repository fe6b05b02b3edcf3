"""``python -m fedaffect.simulation.shared_emotions``: learn the default fusion, or test it on a corpus left out."""

from __future__ import annotations

from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from fedaffect.client.corpora.registry import factory
from fedaffect.edge.bundle import Bundle, default_bundle_path
from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.sample import MODALITIES
from fedaffect.server.models.alignment.calibrating import let_experts_answer, temperatures
from fedaffect.server.models.alignment.fused import Fused, fused_and_alone
from fedaffect.server.models.alignment.material import CORPORA, LABELS
from fedaffect.server.models.alignment.storing import save_fusion
from fedaffect.server.models.bundling.licences import OFFERED
from fedaffect.server.models.bundling.recipe import licence_of_weights
from fedaffect.simulation.live import live
from fedaffect.simulation.shared_emotions.run import (
    MODEL_OPTIONS,
    Held,
    federate,
    measure,
    read_all,
    run_config,
    sentence_recall,
    trained_model,
    without,
)
from fedaffect.simulation.shared_emotions.settings import SharedConfig, corpora_of


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help=f"Holds a folder for each of {', '.join(CORPORA)}.",
)
@click.option("--bundle", type=click.Path(path_type=Path), help="Edge bundle; the one in the cache if not given.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs/shared7"), show_default=True, help="The run's folder."
)
@click.option("--leave-out", type=click.Choice(list(CORPORA)), help="Train without this corpus and test on all of it.")
@click.option(
    "--licence",
    type=click.Choice(OFFERED),
    default=OFFERED[0],
    show_default=True,
    help="Of the fusion; permissive: of words alone, from corpora that let an app ship it. Give such a --bundle.",
)
@click.option("--rounds", type=int, help="Another number of rounds.")
@click.option("--actors", type=int, default=1, show_default=True, help="Ray actors.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--export", "target", type=click.Path(path_type=Path), help="Write the fusion's weights to this file.")
@click.option("--version", "edition", default="shared7-4", show_default=True, help="Version written into them.")
@click.option("--overwrite", is_flag=True, help="Replace a run of that name.")
def main(
    data_dir: Path,
    bundle: Path | None,
    out: Path,
    leave_out: str | None,
    licence: str,
    rounds: int | None,
    actors: int,
    seed: int,
    target: Path | None,
    edition: str,
    overwrite: bool,
) -> None:
    """Let simulated clients learn one fusion from faces, voices and words, and say how it does on each corpus."""
    torch.set_num_threads(1)
    console = Console(stderr=True)
    opened = Bundle.load(bundle or default_bundle_path())
    config = SharedConfig(seed=seed, corpora=corpora_of(licence))
    if leave_out is not None:
        config = without(config, leave_out)
    materials = read_all(data_dir, opened, config)
    there = {m.modality: m.tables[0].width for m in materials if m.corpus in config.corpora}
    widths: dict[str, int] = {modality: there[modality] for modality in MODALITIES if modality in there}
    changes = {"actors": actors, "modalities": tuple(widths)} | ({} if rounds is None else {"rounds": rounds})
    run = run_config(out.parent, out.name, seed, **changes)
    shown = live(console, False, "")
    try:
        folder = federate(materials, config, run, shown, overwrite=overwrite)
    finally:
        for one in shown:
            one.close()
    model = trained_model(folder, widths)
    known = [m for m in materials if m.corpus in config.corpora]
    options = dict(MODEL_OPTIONS)
    if len(widths) > 1:
        options["experts"] = let_experts_answer(model, known, seed)
    stdout = Console(width=140)
    stdout.print(_table(measure(model, materials, config.corpora)))
    if "text" in widths:
        recall = sentence_recall(model, opened.encoder("text"))
        stdout.print("constructed sentences, recall: " + ", ".join(f"{k} {v:.2f}" for k, v in recall.items()))
    if len(widths) > 1:
        stdout.print(_fused_table(fused_and_alone(model, known, seed)))
    fitted = temperatures(model, known, seed)
    stdout.print("temperatures: " + ", ".join(f"{k} {v:.2f}" for k, v in fitted.items()))
    if target is not None:
        learned_from = [factory(corpus).info.licence for corpus in config.corpora]
        encoded_by = [opened.manifest.encoders[modality].source.licence for modality in widths]
        save_fusion(
            model,
            target,
            options=options,
            widths=widths,
            labels=LABELS,
            version=edition,
            temperatures=fitted,
            licence=licence_of_weights([*learned_from, *encoded_by]),
        )


def _table(found: list[Held]) -> Table:
    table = Table("corpus", "rows", "n", "UAR of 7", "weighted F1", "UAR among its classes", "chance")
    for one in found:
        table.add_row(
            one.corpus,
            one.split,
            str(one.rows),
            f"{one.figures['uar']:.3f}",
            f"{one.figures['weighted_f1']:.3f}",
            f"{one.among['uar']:.3f} of {one.classes}",
            f"{1 / one.classes:.3f}",
        )
    return table


def _fused_table(found: list[Fused]) -> Table:
    table = Table(
        "constructed of development rows", "shows it", "UAR fused", "UAR of each alone", "above the best, points"
    )
    for one in found:
        alone = ", ".join(f"{m} {uar:.3f}" for m, uar in one.alone.items())
        table.add_row(one.subset, one.shown, f"{one.uar:.3f}", alone, f"{100 * one.gain:+.1f}")
    return table


if __name__ == "__main__":
    try:
        main(standalone_mode=True)
    except FedAffectError as error:
        raise SystemExit(f"error: {error}") from error
