"""What attacks cost: each attack against each strategy on a corpus, over seeds.

    python -m benchmarks.attacks --dataset ravdess --data-dir RAVDESS --attackers 0.25 --rounds 14

Every cell is a run of ``fedaffect simulate`` with these flags; finished ones are not run again, so that the command
can be stopped and given again. Prints a Markdown table of test UAR at the round that the development split chose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console

from fedaffect.server.federation.run_folder import SUMMARY, RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.ray_session import ray_session
from fedaffect.simulation.running import Runner

ATTACKS: Mapping[str, Mapping[str, float]] = {
    "none": {},
    "sign-flip": {},
    "label-flip": {},
    "scale": {},
    "backdoor": {"factor": 4.0, "share": 1.0},
}


def configs(arguments: argparse.Namespace) -> Iterator[tuple[str, str, RunSettings]]:
    """Attack, strategy and settings of every run."""
    for seed in arguments.seeds:
        for attack in arguments.attacks:
            for strategy in arguments.strategies:
                under = (
                    {} if attack == "none" else {"attackers": arguments.attackers, "attack_options": ATTACKS[attack]}
                )
                yield (
                    attack,
                    strategy,
                    RunSettings.of(
                        dataset=arguments.dataset,
                        data_dir=arguments.data_dir,
                        strategy=strategy,
                        attack=None if attack == "none" else attack,
                        rounds=arguments.rounds,
                        seed=seed,
                        actors=arguments.actors,
                        keep_checkpoints="last",
                        out=arguments.out,
                        name=f"{attack}-{strategy}-{seed}",
                        **under,
                        **settings(arguments.setting),
                    ),
                )


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE as settings: numbers and lists as JSON has them, anything else is text."""
    made = {}
    for name, _, text in (pair.partition("=") for pair in pairs):
        try:
            made[name] = json.loads(text)
        except json.JSONDecodeError:
            made[name] = text
    return made


def finished(config: RunSettings) -> dict[str, Any]:
    """The summary of a run: from its folder where it is over, else after carrying it out."""
    path = config.output.out / config.run_name
    if (path / SUMMARY).is_file():
        return RunFolder.open(path).summary()
    return Runner(Console(stderr=True), quiet=True).run(config, overwrite=path.exists())[1]


def shown(values: list[float]) -> str:
    """Mean ± standard deviation, in percent."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"


def main() -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="synthetic")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--attackers", type=float, default=0.2)
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS), choices=list(ATTACKS))
    parser.add_argument("--strategies", nargs="+", default=["fedavg", "centred-clipping"])
    parser.add_argument("--rounds", type=int, default=14)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--actors", type=int, default=1)
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="such as labels=meld4")
    parser.add_argument("--out", type=Path, default=Path("runs/attacks"))
    arguments = parser.parse_args()
    test: dict[tuple[str, str], list[float]] = {}
    success: dict[tuple[str, str], list[float]] = {}
    with ray_session(cores=max(2, arguments.actors)):
        for attack, strategy, config in configs(arguments):
            summary = finished(config)
            test.setdefault((attack, strategy), []).append(summary["test"]["uar"])
            if "success" in summary.get("attack", {}):
                success.setdefault((attack, strategy), []).append(summary["attack"]["success"])
            print(f"{config.run_name}: dev {summary['dev']['uar']:.4f}, test {summary['test']['uar']:.4f}", flush=True)
    print(f"\n| attack | {' | '.join(arguments.strategies)} |\n|---|{'---|' * len(arguments.strategies)}")
    for attack in arguments.attacks:
        cells = [shown(test[attack, strategy]) for strategy in arguments.strategies]
        print(f"| {attack} | {' | '.join(cells)} |")
        if (attack, arguments.strategies[0]) in success:
            cells = [shown(success[attack, strategy]) for strategy in arguments.strategies]
            print(f"| {attack}: success | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
