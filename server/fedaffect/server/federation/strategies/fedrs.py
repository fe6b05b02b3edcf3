"""FedRS on the server: plain averaging; what is new happens in each client's softmax.

Li and Zhan, "FedRS: Federated Learning with Restricted Softmax for Label Distribution Non-IID Data", KDD 2021,
equation 6: a client scales the scores of classes it has never seen by alpha < 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg


class FedRS(FedAvg):
    """FedAvg that tells clients how far to restrict their softmax.

    Parameters
    ----------
    alpha : float
        1 is FedAvg; 0 takes unseen classes out of the local softmax's competition.
    **sampling
        Passed on to FedAvg.
    """

    def __init__(self, alpha: float = 0.5, **sampling: Any) -> None:
        super().__init__(**sampling)
        self.alpha = alpha

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Messages of FedAvg with alpha in their config."""
        config["fedrs-alpha"] = self.alpha
        return super().configure_train(server_round, arrays, config, grid)
