"""Train the face networks on FER+ and write the files that this project ships: see ``--help``."""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch
from rich.console import Console

from fedaffect.server.models.faces.distil import DistilConfig, Pair, distil, paired
from fedaffect.server.models.faces.export import export_pair, measure, sizes
from fedaffect.server.models.faces.votes import load_faces
from fedaffect.server.models.faces.weights import load_student, load_teacher


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True), required=True, help="FER+'s own folder.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/faces"), show_default=True)
@click.option("--epochs", default=DistilConfig().epochs, show_default=True)
@click.option("--lr", default=DistilConfig().lr, show_default=True)
@click.option("--average", default=DistilConfig().average, show_default=True, help="Decay a step of kept weights.")
@click.option("--begin", type=click.Path(path_type=Path, exists=True), help="A pair.pt to go on from.")
@click.option("--begin-committed", is_flag=True, help="Go on from the committed networks.")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=0, help="Cores to use; all if not given.")
@click.option("--export-only", is_flag=True, help="Export the pair that already lies under --out.")
@click.option("--report-test", is_flag=True, help="Measure the test split too; only to report, never to choose.")
def main(
    data_dir: Path,
    out: Path,
    epochs: int,
    lr: float,
    average: float,
    begin: Path | None,
    begin_committed: bool,
    seed: int,
    threads: int,
    export_only: bool,
    report_test: bool,
) -> None:
    """Train teacher and student side by side, and write server/fedaffect/server/models/faces/trained.

    About an hour on two quiet cores with bfloat16 units.
    """
    console = Console(stderr=True)
    if threads:
        torch.set_num_threads(threads)
    faces = load_faces(data_dir)
    if export_only:
        pair = _stored(out / "pair.pt")
    else:
        config = DistilConfig(epochs=epochs, seed=seed, lr=lr, average=average)
        start = _stored(begin) if begin else None
        if begin_committed:
            start = paired(load_teacher(), load_student(), faces["train"])
        pair = distil(
            faces["train"], faces["dev"], config, out, lambda figures: console.print(json.dumps(figures)), start
        )
    export_pair(pair.teacher, pair.student, faces["train"])
    splits = ("dev", "test") if report_test else ("dev",)
    figures = {split: measure(faces[split]).to_json() for split in splits} | {"bytes": sizes()}
    Console().print_json(json.dumps(figures))


def _stored(path: Path) -> Pair:
    pair = Pair()
    pair.load_state_dict(torch.load(path, weights_only=True))
    return pair


if __name__ == "__main__":
    main()
