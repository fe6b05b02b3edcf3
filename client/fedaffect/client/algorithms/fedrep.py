"""FedRep: first the head over a frozen representation, then the representation under a frozen head.

Collins, Hassani, Mokhtari and Shakkottai, "Exploiting Shared Representations for Personalized Federated Learning", ICML
2021, algorithm 1; the head stays on its client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fedaffect.client.algorithms.base import LocalRun, TrainingPass
from fedaffect.client.algorithms.fedper import FedPer
from fedaffect.edge.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


class FedRep(FedPer):
    """FedPer whose local epochs are the head's but for the last few, which are the representation's."""

    def __init__(self, run: LocalRun) -> None:
        super().__init__(run)
        own = set(run.shared.own_names)
        self._is_head = [name in own for name in run.shared.whole.names]
        self._head_learns = True

    def passes(self, epochs: int) -> Iterator[TrainingPass]:
        """Head, then representation."""
        last = int(self.run.options.get("option.representation-epochs", 1))
        yield TrainingPass(head_epochs(epochs, last))
        self._head_learns = False
        yield TrainingPass(last)

    def correct(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take the gradients of what is frozen away."""
        for parameter, is_head in zip(parameters, self._is_head, strict=True):
            if is_head != self._head_learns:
                parameter.grad = None


def head_epochs(epochs: int, representation_epochs: int) -> int:
    """How many of the local epochs are the head's.

    Raises
    ------
    ConfigError
        If one of both gets none.
    """
    if not 1 <= representation_epochs < epochs:
        raise ConfigError(
            f"fedrep gives the last representation-epochs of --local-epochs to the representation, the others to the "
            f"head, and {representation_epochs} of {epochs} leaves one without; raise --local-epochs"
        )
    return epochs - representation_epochs
