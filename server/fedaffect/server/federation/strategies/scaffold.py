"""SCAFFOLD on the server: one control variate that says where the whole federation drifts to.

Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML 2020, algorithm 1
and equations 4 and 5; clients update their own variates by option II. Their theory averages clients uniformly; here
parameters are weighted by examples as with every other strategy, control variates uniformly as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from fedaffect.client.wire import CONTROL, METRICS
from fedaffect.server.federation.failures import RoundFailedError

NUM_CLIENTS = "num-clients"


class Scaffold(FedAvg):
    """FedAvg that sends c along and moves it by what clients report.

    Parameters
    ----------
    clients : int
        N, all clients of the federation.
    server_lr : float
        Their global step size; 1 takes the clients' mean.
    **sampling
        Passed on to FedAvg.
    """

    def __init__(self, clients: int, server_lr: float = 1.0, **sampling: Any) -> None:
        super().__init__(**sampling)
        self.clients = clients
        self.server_lr = server_lr
        self.control: dict[str, NDArray[np.float32]] | None = None
        self._sent: dict[str, NDArray[np.float32]] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Messages of FedAvg with the control variate beside the arrays."""
        self._sent = {name: array.numpy() for name, array in arrays.items()}
        if self.control is None:
            self.control = {name: np.zeros_like(array) for name, array in self._sent.items()}
        control = ArrayRecord({name: Array(array) for name, array in self.control.items()})
        messages = list(super().configure_train(server_round, arrays, config, grid))
        for message in messages:
            message.content[CONTROL] = control
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Equation 5: x moves to the clients' mean, c by (|S| / N) times their mean change.

        Parameters
        ----------
        server_round : int
        replies : iterable of Message
            One reply, the mean over all clients of the round; its metrics count them as ``num-clients``.

        Raises
        ------
        RoundFailedError
            If the reply says nothing about control variates: the clients run another algorithm.
        """
        replies = list(replies)
        if not replies:
            return None, None
        if CONTROL not in replies[0].content or self.control is None:
            raise RoundFailedError("the clients sent no control variates; they must run the scaffold algorithm")
        change = replies[0].content.array_records[CONTROL]
        taking_part = int(cast(int, replies[0].content.metric_records[METRICS][NUM_CLIENTS]))
        del replies[0].content[CONTROL]
        mean, metrics = super().aggregate_train(server_round, replies)
        share = np.float32(taking_part / self.clients)
        self.control = {name: (c + share * change[name].numpy()).astype(np.float32) for name, c in self.control.items()}
        if mean is not None and self.server_lr != 1.0:
            step = np.float32(self.server_lr)
            moved = {name: x + step * (mean[name].numpy() - x) for name, x in self._sent.items()}
            mean = ArrayRecord({name: Array(x) for name, x in moved.items()})
        return mean, metrics
