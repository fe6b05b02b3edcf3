"""`fedaffect edge calibrate`: when to ask the cloud, chosen on predictions whose truth is known."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from fedaffect.edge.calibration.fitting import SPREADS
from fedaffect.edge.calibration.predictions import FORMAT
from fedaffect.edge.cli.output import stdout
from fedaffect.edge.errors import ConfigError

if TYPE_CHECKING:
    from fedaffect.edge.bundle import Bundle
    from fedaffect.edge.calibration.fitting import SubsetReport
    from fedaffect.edge.calibration.predictions import Predictions

_MAX_OFFLOADED = 0.35


@click.command(epilog=FORMAT)
@click.option(
    "--predictions", "predictions_file", type=click.Path(path_type=Path), help="File of predictions; format below."
)
@click.option(
    "--examples", is_flag=True, help="Calibrate on what this device keeps: examples that were labelled, with consent."
)
@click.option("--bundle", "bundle_folder", type=click.Path(path_type=Path), help="The default one if not given.")
@click.option(
    "--max-offloaded",
    type=click.FloatRange(0, 1),
    help=f"Most accurate threshold that sends no larger share than this; {_MAX_OFFLOADED} where no target is given.",
)
@click.option(
    "--keep",
    type=click.FloatRange(0, 1),
    help="Fewest requests that keep this share of what the cloud gains over the edge.",
)
@click.option(
    "--thresholds",
    "spread",
    type=click.Choice(SPREADS),
    default="each",
    show_default=True,
    help="Keep the target in each subset of modalities; jointly over all, where it gains most; or by one threshold.",
)
@click.option(
    "--keep-temperatures",
    is_flag=True,
    help="Choose thresholds alone; for temperatures that were fitted on more than these predictions.",
)
@click.option(
    "--svg", type=click.Path(path_type=Path), default=Path("offloading.svg"), show_default=True, help="The curve."
)
@click.option(
    "--write/--no-write", default=True, show_default=True, help="Put the result into the bundle, and sign it."
)
@click.option(
    "--allow-unsigned", is_flag=True, help="Take a bundle whose signer is not trusted; it is then signed by you."
)
def calibrate(
    predictions_file: Path | None,
    examples: bool,
    bundle_folder: Path | None,
    max_offloaded: float | None,
    keep: float | None,
    spread: str,
    keep_temperatures: bool,
    svg: Path,
    write: bool,
    allow_unsigned: bool,
) -> None:
    """Fit confidence to the truth, draw accuracy against share offloaded, and choose the threshold.

    Give predictions of a development split: what is chosen on the test split says nothing of it.
    """
    from fedaffect.edge.bundle import Bundle, usual_bundle_path
    from fedaffect.edge.calibration.fitting import Target, fit_all
    from fedaffect.edge.calibration.writing import subsets_of

    if (predictions_file is not None) == examples:
        raise ConfigError("calibrate on one thing; give --predictions FILE or --examples")
    target = Target(_MAX_OFFLOADED if max_offloaded is None and keep is None else max_offloaded, keep)
    bundle = Bundle.load(bundle_folder or usual_bundle_path(), trust=None if allow_unsigned else "default")
    found = _from_file(predictions_file, bundle) if predictions_file else _from_examples(bundle)
    kept = bundle.manifest.calibration.temperatures if keep_temperatures else None
    overall, *subsets = fit_all(found, target, spread, kept)
    console = Console()
    stdout().print(_table(overall, subsets, found.cloud_logits is not None))
    if found.cloud_logits is None:
        console.print(
            "without cloud_logits there is no curve: what the cloud would answer is not known", style="yellow"
        )
    else:
        _draw(console, overall, subsets, svg)
    if not overall.choice.met:
        console.print("the target is out of reach on these predictions; this is the nearest", style="yellow")
    if write:
        temperatures = {report.name: report.temperature for report in subsets}
        thresholds = dict.fromkeys(subsets_of(bundle.manifest.encoders), overall.choice.threshold)
        thresholds |= {report.name: report.choice.threshold for report in subsets}
        written = _write(bundle, temperatures, thresholds)
        console.print(f"written into {written.path}, version {written.version}", soft_wrap=True)


def _from_file(path: Path, bundle: Bundle) -> Predictions:
    from fedaffect.edge.calibration.predictions import Predictions

    return Predictions.read(path, bundle.label_set.labels)


def _from_examples(bundle: Bundle) -> Predictions:
    from fedaffect.edge.calibration.from_examples import predictions_of_examples
    from fedaffect.edge.store import Database, ExampleStore

    with Database() as database:
        return predictions_of_examples(ExampleStore(database), bundle)


def _write(bundle: Bundle, temperatures: Mapping[str, float], thresholds: Mapping[str, float]) -> Bundle:
    from fedaffect.edge.bundle import Bundle, BundleStore, SigningKey
    from fedaffect.edge.calibration.writing import write_calibration

    store = BundleStore.default()
    if bundle.path.parent != store.path_of(bundle.version).parent:
        return write_calibration(bundle, temperatures, thresholds, SigningKey.own())
    # What is installed stays as it is, for rollback; the calibrated one is a version of its own.
    with TemporaryDirectory(prefix="fedaffect-") as scratch:
        copy = Bundle(shutil.copytree(bundle.path, Path(scratch) / "bundle"), bundle.manifest, bundle.version)
        written = write_calibration(copy, temperatures, thresholds, SigningKey.own())
        # Built when the one that it calibrates was, which may be an older one of this store.
        return store.install(written.path, allow_older=True)


def _draw(console: Console, overall: SubsetReport, subsets: Sequence[SubsetReport], svg: Path) -> None:
    from fedaffect.edge.calibration.drawing import Panel, curve_svg, curve_text

    panels = [Panel(r.name, r.curve, r.choice) for r in ((overall, *subsets) if len(subsets) > 1 else subsets)]
    console.print(curve_text(panels[0], width=max(20, min(64, console.width - 12))))
    svg.write_text(curve_svg(panels, "Accuracy against share of requests offloaded"), encoding="utf-8")
    console.print(f"curve in {svg}", soft_wrap=True)


def _table(overall: SubsetReport, subsets: Sequence[SubsetReport], cloud: bool) -> Table:
    table = Table("", "N", "T", "ECE before", "after", "threshold", "offloaded", "stays, right")
    gains = ("edge", "cloud", "together", "at random", "of the gap")
    for name in gains if cloud else ("edge",):
        table.add_column(name, justify="right")
    for report in (*subsets, overall) if len(subsets) > 1 else subsets:
        curve, choice = report.curve, report.choice
        row = [report.name, str(report.samples), _number(report.temperature, "{:.3f}")]
        row += [f"{report.error_before:.3f}", f"{report.error_after:.3f}"]
        row += [f"{choice.threshold:.3f}{'' if report.own else ' (all)'}", _percent(choice.share)]
        row += [_percent(report.staying_accuracy), _percent(curve.edge_accuracy)]
        if cloud:
            row += [_percent(x) for x in (curve.cloud_accuracy, choice.accuracy, choice.random_accuracy)]
            row.append(_percent(choice.recovered))
        table.add_row(*row)
    return table


def _percent(share: float) -> str:
    return _number(100 * share, "{:.1f} %")


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else form.format(value)
