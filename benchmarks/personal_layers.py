"""FedAvg beside FedPer, FedRep and Ditto on MELD's speakers, words alone: the shared model, and each speaker's own.

    python -m benchmarks.personal_layers --data-dir DIR [--development] [--seeds 0,1,2]

DIR holds ``meld`` in its official layout. Each of 260 speakers is a client. Speakers of whom the test split has
utterances are asked after the last round how often the shared model is right about these, and how often what they
would use themselves: with FedPer and FedRep the shared layers under their own head, with Ditto their own model. Mean
and worst decile are over speakers with ten utterances there or more. ``--development`` prints the development split's
figures for the settings that were tried, by which those of the table were chosen.

Prints one JSON object a strategy. Finished runs in ``--out`` are kept and read again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

import fedaffect

_LEAST: Final = 10
_ROUNDS: Final = 20
_COMMON: Final[Mapping[str, Any]] = {
    "dataset": "meld",
    "context": 0,
    "rounds": _ROUNDS,
    "local_epochs": 2,
    "evaluate": "clients",
    # After the last round only, so that all figures are of one round.
    "eval_every": _ROUNDS,
    "progress": False,
}
CHOSEN: Final[Mapping[str, Mapping[str, Any]]] = {
    "fedavg": {"strategy": "fedavg"},
    "fedper": {"strategy": "fedper"},
    "fedrep": {"strategy": "fedrep"},
    "ditto": {"strategy": "ditto", "strategy_options": {"lambda": 0.1, "personal-epochs": 2}},
}
TRIED: Final[Mapping[str, Mapping[str, Any]]] = {
    **CHOSEN,
    "ditto-0.01": {"strategy": "ditto", "strategy_options": {"lambda": 0.01, "personal-epochs": 2}},
    "ditto-1": {"strategy": "ditto", "strategy_options": {"lambda": 1.0, "personal-epochs": 2}},
    "fedrep-3": {"strategy": "fedrep", "local_epochs": 3},
}


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/personal-layers"), show_default=True)
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--development", is_flag=True, help="What was tried, on the development split.")
def main(data_dir: Path, out: Path, seeds: str, development: bool) -> None:
    """Measure and print."""
    numbers = [int(seed) for seed in seeds.split(",")]
    for name, settings in (TRIED if development else CHOSEN).items():
        runs = fedaffect.simulate(
            **{**_COMMON, **settings}, data_dir=data_dir / "meld", out=out, name=name, seeds=numbers
        ).runs.values()
        if development:
            rows = [_chosen(run.rounds[-1]["dev"]) for run in runs]
        else:
            rows = [_tested(run.summary["on_clients"]) for run in runs if run.summary]
        print(json.dumps({"name": name, "seeds": len(rows), **_mean(rows)}), flush=True)


def _chosen(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: figures[name] for name in ("accuracy", "uar", "weighted_f1")}


def _tested(asked: Mapping[str, Any]) -> dict[str, float]:
    rows: dict[str, float] = {}
    for who, found in (("shared", asked), ("personal", asked.get("personal", asked))):
        rows |= {f"{who}_{name}": found["figures"][name] for name in ("accuracy", "uar", "weighted_f1")}
        each = np.sort([one["accuracy"] for one in found["clients"]["each"] if one["examples"] >= _LEAST])
        rows |= {f"{who}_mean": each.mean(), f"{who}_worst_decile": each[: max(1, round(len(each) / 10))].mean()}
    return rows


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds, in points."""
    return {
        name: f"{100 * np.mean(values):.1f} ± {100 * np.std(values):.1f}"
        for name in rows[0]
        for values in [[row[name] for row in rows]]
    }


if __name__ == "__main__":
    main()
