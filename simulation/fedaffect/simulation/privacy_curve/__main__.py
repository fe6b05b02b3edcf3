"""``python -m fedaffect.simulation.privacy_curve``: UAR over epsilon on MELD and RAVDESS."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from fedaffect.edge.errors import FedAffectError
from fedaffect.simulation.privacy_curve.probe import (
    CENTRED,
    SETTINGS,
    Projected,
    private_cohort,
    projected,
    public_features,
)
from fedaffect.simulation.privacy_curve.training import Point, train


@dataclass(frozen=True, slots=True)
class Grid:
    """Settings to choose from, as in :class:`Point`."""

    rounds: tuple[int, ...]
    rates: tuple[float, ...]
    clip_norms: tuple[float, ...]
    momentum: float = 0.9


EPSILONS = (1.0, 2.0, 4.0, 8.0, 16.0, math.inf)
# The one with a goal first.
_ORDER = (8.0, math.inf, 1.0, 2.0, 4.0, 16.0)
# Tried on development rows, in several runs because one is too noisy to tell settings apart.
_WIDTHS = {"meld": (64,), "ravdess": (32, 64)}
_CHOOSING_RUNS = {"utterance": 6, "client": 3}
_GRIDS: Mapping[tuple[str, str], Grid] = MappingProxyType(
    {
        ("meld", "utterance"): Grid((6, 16), (8.0, 32.0, 128.0), (0.3, 1.0)),
        ("meld", "client"): Grid((6, 16), (0.5, 2.0, 8.0), (0.3, 1.0)),
        # With so few people noise decides: four rounds, each counting the same, do as well as sixteen.
        ("ravdess", "utterance"): Grid((4,), (25.0, 50.0, 100.0, 150.0, 250.0), (0.3, 0.5), momentum=0.0),
        ("ravdess", "client"): Grid((1, 4, 12), (8.0, 32.0), (1.0, 4.0), momentum=0.0),
    }
)
_WITHOUT = {
    "meld": Grid((40, 100), (2.0, 8.0), (1.0,)),
    "ravdess": Grid((10, 20, 40, 80), (1.0, 2.0, 4.0, 8.0), (1.0,)),
}


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--corpus", type=click.Choice(sorted(SETTINGS)), multiple=True, help="Both if not given.")
@click.option("--unit", type=click.Choice(["utterance", "client"]), multiple=True, help="Both if not given.")
@click.option("--seeds", type=int, default=5, show_default=True, help="Runs of each point; noise is never the same.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/privacy-curve.jsonl"), show_default=True)
def main(data_dir: Path, corpus: Sequence[str], unit: Sequence[str], seeds: int, out: Path) -> None:
    """Choose settings for each epsilon on development rows, then run them with several seeds; print a table.

    Points already in the file are left as they are.
    """
    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {(p["corpus"], p["unit"], p["epsilon"]) for p in read(out)}
    for name, of in itertools.product(corpus or sorted(SETTINGS), unit or ("utterance", "client")):
        wanted = [e for e in _ORDER if (name, of, None if math.isinf(e) else e) not in done]
        if not wanted:
            continue
        folds = [_by_width(name, data_dir, fold) for fold in _folds(name)]
        plain: dict[int, float] = {}
        for target in wanted:
            line = measure(name, of, target, folds, seeds, plain)
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")
    Console().print(table(read(out)))


def measure(
    corpus: str, unit: str, target: float, folds: Sequence[dict[int, Projected]], seeds: int, plain: dict[int, float]
) -> dict[str, Any]:
    """One point of the curve, as a line of the file.

    Parameters
    ----------
    corpus, unit : str
    target : float
        Epsilon.
    folds : sequence of mapping of int to Projected
        Features of each fold by width.
    seeds : int
    plain : dict of int to float
        Test UAR of a head of each width without privacy; what is missing is filled in.
    """
    chosen = choose(corpus, unit, target, folds[:2])
    # Without noise every seed gives the same: the head starts at zero.
    runs = [
        [train(fold[chosen.width], chosen, seed) for fold in folds]
        for seed in range(1 if math.isinf(target) else seeds)
    ]
    test = [float(np.mean([r["test"] for r in run])) for run in runs]
    if chosen.width not in plain:
        plain[chosen.width] = test[0] if math.isinf(target) else same_head_without(corpus, chosen.width, folds)
    return {
        "corpus": corpus,
        "unit": unit,
        "epsilon": None if math.isinf(target) else target,
        "spent": None if math.isinf(target) else max(r["epsilon"] for run in runs for r in run),
        "delta": chosen.delta,
        "noise_multiplier": runs[0][0]["noise_multiplier"],
        "test_uar": test,
        "test_uar_by_fold": np.mean([[r["test"] for r in run] for run in runs], axis=0).tolist(),
        "same_head_without_privacy": plain[chosen.width],
        "dev_uar": float(np.mean([r["dev"] for run in runs for r in run])),
        "chosen": {**asdict(chosen), "epsilon": None},
    }


def choose(corpus: str, unit: str, target: float, folds: Sequence[dict[int, Projected]]) -> Point:
    """The settings with the best development UAR, mean over these folds."""
    best: tuple[float, Point] | None = None
    for point in _candidates(corpus, unit, target, folds[0]):
        runs = itertools.product(folds, range(1 if math.isinf(target) else _CHOOSING_RUNS[unit]))
        found = float(np.mean([train(fold[point.width], point, seed)["dev"] for fold, seed in runs]))
        if best is None or found > best[0]:
            best = found, point
    if best is None:
        raise FedAffectError("there is nothing to choose from; give some widths")
    return best[1]


def _candidates(corpus: str, unit: str, target: float, widths: Iterable[int]) -> Iterator[Point]:
    without = math.isinf(target)
    grid = _WITHOUT[corpus] if without else _GRIDS[corpus, unit]
    for width, rounds, lr, clip_norm in itertools.product(widths, grid.rounds, grid.rates, grid.clip_norms):
        yield Point("utterance" if without else unit, target, width, rounds, lr, clip_norm, grid.momentum)


def same_head_without(corpus: str, width: int, folds: Sequence[dict[int, Projected]]) -> float:
    """Test UAR of a head of that width without privacy, its settings chosen on development rows too."""
    only = [{width: fold[width]} for fold in folds]
    chosen = choose(corpus, "utterance", math.inf, only[:2])
    return float(np.mean([train(fold[width], chosen, 0)["test"] for fold in only]))


def _folds(corpus: str) -> Iterable[int | None]:
    folds = SETTINGS[corpus].get("folds")
    return range(1, folds + 1) if folds else (None,)


def _by_width(corpus: str, root: Path, fold: int | None) -> dict[int, Projected]:
    private = private_cohort(corpus, root, fold)
    public = public_features(corpus, root, private)
    return {width: projected(private, public, width, corpus in CENTRED) for width in _WIDTHS[corpus]}


def read(path: Path) -> list[dict[str, Any]]:
    """Lines of the file; none where it is not there yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(points: Sequence[dict[str, Any]]) -> Table:
    """UAR on test, mean and standard deviation over seeds, a row each corpus and unit."""
    made = Table("corpus", "unit", *(f"ε = {e:g}" for e in EPSILONS))
    found = {(p["corpus"], p["unit"], p["epsilon"]): p for p in points}
    for corpus, unit in itertools.product(sorted(SETTINGS), ("utterance", "client")):
        cells = []
        for target in EPSILONS:
            point = found.get((corpus, unit, None if math.isinf(target) else target))
            cells.append("" if point is None else f"{np.mean(point['test_uar']):.3f} ± {np.std(point['test_uar']):.3f}")
        made.add_row(corpus, unit, *cells)
    return made


if __name__ == "__main__":
    try:
        main(standalone_mode=True)
    except FedAffectError as error:
        raise SystemExit(f"error: {error}") from error
