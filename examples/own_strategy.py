"""A strategy of one's own, as an object: python examples/own_strategy.py [ROUNDS].

The server moves only half of the way to the clients' mean, and less in each round.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg, Strategy

import fedaffect
from fedaffect.server import EVERYBODY, StrategyEntry


class Cautious(FedAvg):
    """FedAvg whose server goes only a part of the way, less in each round."""

    def __init__(self, step: float, **flower: Any) -> None:
        super().__init__(**flower)
        self.step = step
        self.start = ArrayRecord()

    def configure_train(self, server_round: int, arrays: ArrayRecord, *rest: Any) -> Iterable[Message]:
        """Remember where the round starts."""
        self.start = arrays
        return super().configure_train(server_round, arrays, *rest)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """From there ``step / server_round`` of the way to the mean."""
        mean, metrics = super().aggregate_train(server_round, replies)
        if mean is None:
            return None, metrics
        share = self.step / server_round
        begun = {name: array.numpy() for name, array in self.start.items()}
        return ArrayRecord({n: Array(w + share * (mean[n].numpy() - w)) for n, w in begun.items()}), metrics


def build(options: Mapping[str, float], config: Any, clients: int) -> Strategy:
    """Options come complete; ``EVERYBODY`` says that the run itself chooses who takes part."""
    return Cautious(options["step"], **EVERYBODY)


CAUTIOUS = StrategyEntry(build, options={"step": 0.5})


def main(rounds: int = 10) -> None:
    """Run it, with a line a round."""
    run = fedaffect.simulate(
        strategy=CAUTIOUS,
        rounds=rounds,
        name="cautious",
        overwrite=True,
        progress=False,
        on_round=lambda record: print(f"round {record.round}: {record.clients} clients, loss {record.train_loss}"),
    )
    test = (run.summary or {})["test"]
    print(f"UAR on test {test['uar']:.3f}; {run.report}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
