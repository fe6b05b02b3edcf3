"""A strategy: FedAvg that tells clients how small their steps are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Strategy

from fedaffect.server import EVERYBODY, StrategyEntry


class SmallStepsAveraging(FedAvg):
    """Averages, and sends ``share`` along with each round.

    Parameters
    ----------
    share : float
        Of a gradient that clients follow.
    """

    def __init__(self, share: float, **flower: Any) -> None:
        super().__init__(**flower)
        self.share = share

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As Flower does, with one more key."""
        config["option.share"] = self.share
        return super().configure_train(server_round, arrays, config, grid)


def build(options: Mapping[str, float], config: Any, clients: int) -> Strategy:
    """``options`` are complete and checked; ``EVERYBODY`` lets the run choose who takes part."""
    return SmallStepsAveraging(options["share"], **EVERYBODY)


SMALL_STEPS = StrategyEntry(build, algorithm="small-steps", options={"share": 0.5})
