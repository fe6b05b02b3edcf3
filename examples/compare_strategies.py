"""Two strategies on the synthetic corpus, side by side: python examples/compare_strategies.py [ROUNDS]."""

from __future__ import annotations

import sys

import fedaffect


def main(rounds: int = 10) -> None:
    """Run each strategy with two seeds and print what they reach on test."""
    swept = fedaffect.simulate(
        sweep={"strategy": ["fedavg", "fedyogi"]}, seeds=(0, 1), rounds=rounds, name="which-strategy"
    )
    for group in swept.groups:
        uar = group["test"]["uar"]
        print(f"{group['name']}: UAR {uar['mean']:.3f} ± {uar['std']:.3f} over seeds {group['seeds']}")
    for name, run in swept.runs.items():
        print(f"{name}: {run.report}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
