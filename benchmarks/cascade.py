"""What asking the cloud about the least sure requests gains, on real data.

    python -m benchmarks.cascade answers --bundle B --cloud MODEL --data ../shared/data --out answers
    python -m benchmarks.cascade table answers/dev.npz answers/test.npz --svg cascade.svg

The first runs a bundle and a model of the cloud over the development and test rows of RAVDESS speech (actors new to
both), FER+ faces and MELD text, with the feature cache, in the classes that these share. The second fits temperatures
and chooses thresholds on the development rows alone, and prints what they give on the test rows, with offloading at
random beside it. Both files are predictions files of ``fedaffect edge calibrate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from fedaffect.edge.calibration.cascade import CascadeRow, cascade
from fedaffect.edge.calibration.drawing import Panel, curve_svg
from fedaffect.edge.calibration.fitting import SPREADS
from fedaffect.edge.calibration.predictions import Predictions
from fedaffect.edge.labels import label_set

LABELS = "shared7"
# One corpus a modality, so that a subset's name says which.
CORPORA = {"audio": "RAVDESS speech", "video": "FER+ faces", "text": "MELD text"}


def markdown(rows: Sequence[CascadeRow], max_offloaded: float, keep: float) -> str:
    """The table as RESULTS.md has it; all in percent.

    Parameters
    ----------
    rows : sequence of CascadeRow
        From `cascade`.
    max_offloaded, keep : float
        As they were given to it.
    """
    most, part = f"{100 * max_offloaded:g} %", f"{100 * keep:g} %"
    head = ["test rows", "N", "edge", "cloud", "gap", "offloaded", "accuracy", "at random", "of the gap"]
    head += [f"accuracy at {most}", "of the gap", f"share for {part} of the gap", "ECE before", "after"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for row in rows:
        curve, chosen, within = row.curve, row.chosen, row.within
        cells = [row.name, str(row.samples), _percent(curve.edge_accuracy), _percent(curve.cloud_accuracy)]
        cells += [_percent(curve.gap), _percent(chosen.share), f"**{_percent(chosen.accuracy)}**"]
        cells += [_percent(chosen.random_accuracy), _percent(chosen.recovered), _percent(within.accuracy)]
        cells += [_percent(within.recovered), _percent(row.share_for_gap)]
        cells += [f"{row.error_before:.3f}", f"{row.error_after:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}"


@click.group(help=__doc__)
def main() -> None:
    """See the module's text."""


@main.command()
@click.argument("dev", type=click.Path(path_type=Path))
@click.argument("test", type=click.Path(path_type=Path))
@click.option("--max-offloaded", type=click.FloatRange(0, 1), default=0.35, show_default=True)
@click.option("--keep", type=click.FloatRange(0, 1), default=0.9, show_default=True, help="Part of the gap.")
@click.option("--thresholds", "spread", type=click.Choice(SPREADS), default="each", show_default=True)
@click.option("--svg", type=click.Path(path_type=Path), help="Write the curves on the test rows.")
def table(dev: Path, test: Path, max_offloaded: float, keep: float, spread: str, svg: Path | None) -> None:
    """Temperatures and thresholds from DEV, figures on TEST."""
    names = label_set(LABELS).labels
    found = cascade(Predictions.read(dev, names), Predictions.read(test, names), max_offloaded, keep, spread)
    rows = [replace(row, name=CORPORA.get(row.name, row.name)) for row in found]
    print(markdown(rows, max_offloaded, keep))
    if svg is not None:
        panels = [Panel(f"{row.name}, {row.samples:,} test rows", row.curve, row.chosen) for row in rows]
        svg.write_text(curve_svg(panels, "Accuracy against share of requests offloaded, test rows"), encoding="utf-8")


@main.command()
@click.option("--bundle", type=click.Path(path_type=Path), required=True, help="Of the edge, with a fusion.")
@click.option("--cloud", type=click.Path(path_type=Path), required=True, help="Folder of the cloud's model.")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Holds ravdess/, ferplus/ and meld/.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("answers"), show_default=True)
@click.option("--device", default="cpu", show_default=True, help="Of the cloud's model.")
def answers(bundle: Path, cloud: Path, data: Path, out: Path, device: str) -> None:
    """Write OUT/dev.npz and OUT/test.npz: what edge and cloud answer to the same rows."""
    from benchmarks.cascade_answers import answer_corpora

    out.mkdir(parents=True, exist_ok=True)
    for split, found in answer_corpora(bundle, cloud, data, device).items():
        found.write(out / f"{split}.npz")
        print(f"{out / f'{split}.npz'}: {len(found)} rows")


if __name__ == "__main__":
    main()
