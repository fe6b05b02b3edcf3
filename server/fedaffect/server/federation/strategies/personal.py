"""FedPer, FedRep and Ditto on the server: plain averaging of what is shared; what is new happens on each client.

Arivazhagan et al. 2019; Collins et al. 2021; Li et al. 2021 (:mod:`fedaffect.client.algorithms`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from fedaffect.client.train_config import OPTION


class Personal(FedAvg):
    """FedAvg that tells clients the options of their own training.

    Parameters
    ----------
    options : mapping of str to float
        By their names on the command line.
    **sampling
        Passed on to FedAvg.
    """

    def __init__(self, options: Mapping[str, float], **sampling: Any) -> None:
        super().__init__(**sampling)
        self._options = {f"{OPTION}{name}": float(value) for name, value in options.items()}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Messages of FedAvg with the options in their config."""
        for name, value in self._options.items():
            config[name] = value
        return super().configure_train(server_round, arrays, config, grid)
