"""Clients of one call, trained at once where their settings and the model allow it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from torch import Tensor

from fedaffect.client.stacked.training import CohortTrainer, require_stackable
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import Update
from fedaffect.edge.errors import ConfigError, TrainingError

logger = logging.getLogger(__name__)


class Cohorts:
    """What a worker keeps to train clients at once.

    Parameters
    ----------
    size : int
        Clients at once at most; with 1 each trains alone.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._trainer: tuple[ClientTask, CohortTrainer] | None = None
        self._told: set[str] = set()

    def answers(
        self, task: ClientTask, weights: Tensor, config: TrainConfig, clients: Sequence[int], round: int, seed: int
    ) -> Iterator[tuple[int, Update | TrainingError | None]]:
        """Answers of clients in any order; None for one that is to train alone.

        Parameters are those of :meth:`fedaffect.client.stacked.training.CohortTrainer.train`.
        """
        # Clients with as many examples take as many steps, and no row waits for another.
        ordered = sorted(clients, key=lambda client: -len(task.cohort.rows_of(client)))
        for start in range(0, len(ordered), self._size):
            together = ordered[start : start + self._size]
            made = self._made(task, weights, config, together, round, seed) if len(together) > 1 else None
            yield from zip(together, made, strict=True) if made else ((client, None) for client in together)

    def _made(
        self, task: ClientTask, weights: Tensor, config: TrainConfig, clients: Sequence[int], round: int, seed: int
    ) -> list[Update | TrainingError] | None:
        try:
            require_stackable(config)
            if self._trainer is None or self._trainer[0] is not task:
                self._trainer = (task, CohortTrainer(task))
            return self._trainer[1].train(weights, config, clients, round, seed)
        except ConfigError as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                logger.warning("clients train one by one: %s", error)
        except Exception:
            # Whoever it was will fail alone too, and the others will not.
            logger.exception("clients %s could not train at once and train one by one", list(clients))
        return None
