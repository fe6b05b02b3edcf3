"""Stepping back: a run's last parameters lie only as far from its first as those on the guard can bear.

Weights between two that one run joins are as good as their place says: nearer to the start means less learned and less
forgotten (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from fedaffect.client.task import ClientTask
from fedaffect.server.federation.evaluation import evaluate_split
from fedaffect.server.federation.guard import CHOOSING
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.steps import AroundStep, RoundResult

logger = logging.getLogger("flwr")

# Less than half of what people taught is no answer to them: such a run is refused instead.
_SHARES: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(slots=True)
class SteppedBack(AroundStep):
    """A step whose last round goes back towards the start until no corpus loses more than it may.

    ``w = start + a (w_last - start)``, with the largest a of 1, 0.9, … 0.5 that does, or 0.5 where none does. Whom the
    guard measures in the end are other people than those by whom a is chosen.

    Parameters
    ----------
    step : RoundStep
    task : ClientTask
        Of a cohort with a split to choose by for each of the guard's corpora.
    config : RunSettings
    start : Tensor of float32, shape (P,)
        Parameters of round 0.
    """

    task: ClientTask
    config: RunSettings
    start: Tensor

    def run(self, number: int, progress: Progress) -> RoundResult:
        """One round."""
        result = self.step.run(number, progress)
        if number == self.config.federation.rounds and result.clients:
            result.weights, result.kept_share = self._settled(result.weights)
        return result

    def _settled(self, last: Tensor) -> tuple[Tensor, float]:
        """What is borne, and its share of the way."""
        before = self._figures(self.start)
        weights = last
        for share in _SHARES:
            weights = last if share == 1 else self.start + share * (last - self.start)
            now = self._figures(weights)
            if all(100 * (before[name] - now[name]) <= self.config.retention.guard_loss for name in before):
                break
        if share < 1:
            logger.info("the last round goes back to %.0f %% of the way from the start, for the guard", 100 * share)
        return weights, share

    def _figures(self, weights: Tensor) -> dict[str, float]:
        splits = [name for name in self.task.cohort.splits if name.startswith(CHOOSING)]
        return {name: evaluate_split(self.task, weights, name).figures["uar"] for name in splits}
