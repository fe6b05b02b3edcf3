"""Fusion against fusion: the same data, settings and seeds, federated; only ``--model`` differs.

    python -m benchmarks.fusions --data-dir DIR [--corpus mosi] [--models cmt,late] [--seeds 0,1,2] [--table]

DIR holds ``mosi`` in its official layout. Every model runs with the settings that its corpus has by default; the round
is chosen on development data (of MOSI: videos held out of train), and test is read once a run, for the table. Finished
runs are taken as they are, so that the command goes on where it stopped; ``--table`` only prints.

Prints a Markdown table: means and standard deviations over seeds, and parameters. The last column is accuracy minus
that of ``cmt``, paired by seed.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import click

import fedaffect
from fedaffect.client.models.registry import OWN_MODELS
from fedaffect.simulation import RecordedRun

REFERENCE: Final = "cmt"
CORPORA: Final = ("synthetic", "mosi")
_FIGURES: Final = ("accuracy", "uar", "weighted_f1")


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--corpus", "corpora", type=click.Choice(CORPORA), multiple=True, default=CORPORA)
@click.option("--models", default=",".join(OWN_MODELS))
@click.option("--seeds", default="0,1,2")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/fusions"))
@click.option("--table", is_flag=True, help="Only print what is there.")
def main(data_dir: Path, corpora: tuple[str, ...], models: str, seeds: str, out: Path, table: bool) -> None:
    """Run and print."""
    numbers = [int(seed) for seed in seeds.split(",")]
    for corpus in corpora:
        runs: dict[str, dict[int, RecordedRun]] = {}
        for model in models.split(","):
            runs[model] = {}
            for seed in numbers:
                run = _run(data_dir, corpus, model, seed, out, only_open=table)
                if run is not None:
                    runs[model][seed] = run
        _print(corpus, {model: done for model, done in runs.items() if done})


def _run(data_dir: Path, corpus: str, model: str, seed: int, out: Path, *, only_open: bool) -> RecordedRun | None:
    name = f"{corpus}-{model}-{seed}"
    folder = out / name
    if (folder / "summary.json").is_file():
        return fedaffect.open_run(folder)
    if only_open:
        return None
    place: dict[str, Any] = {} if corpus == "synthetic" else {"data_dir": data_dir / corpus}
    run: RecordedRun = fedaffect.simulate(
        dataset=corpus, model=model, seed=seed, out=out, name=name, overwrite=True, actors=1, progress=False, **place
    )
    return run


def _print(corpus: str, runs: dict[str, dict[int, RecordedRun]]) -> None:
    click.echo(f"\n| {corpus} | parameters | {' | '.join(_FIGURES)} | dev accuracy | − {REFERENCE} | seeds |")
    click.echo("|---" * (len(_FIGURES) + 5) + "|")
    for model, done in runs.items():
        shown = [_spread([_figure(run, "test", key) for run in done.values()]) for key in _FIGURES]
        dev = _spread([_figure(run, "dev", "accuracy") for run in done.values()])
        paired = [seed for seed in done if seed in runs.get(REFERENCE, {})]
        differences = [_accuracy(done[seed]) - _accuracy(runs[REFERENCE][seed]) for seed in paired]
        against = _spread(differences, sign="+") if differences and model != REFERENCE else ""
        size = sum(parameter.numel() for parameter in next(iter(done.values())).model().parameters())
        click.echo(f"| {model} | {size:,} | {' | '.join(shown)} | {dev} | {against} | {len(done)} |")


def _figure(run: RecordedRun, split: str, key: str) -> float:
    assert run.summary is not None
    return float(run.summary[split][key])


def _accuracy(run: RecordedRun) -> float:
    return _figure(run, "test", "accuracy")


def _spread(values: list[float], sign: str = "") -> str:
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{mean(values):{sign}.4f}{spread}"


if __name__ == "__main__":
    main()
