"""Replay: the server learns from public data in each round, so that what was known stays known.

A federation over one new group forgets what was learned of others (catastrophic forgetting, French 1999). The server
still has the public corpora that the first weights were learned from. After each aggregation it takes some steps on
them, at a lower learning rate than the clients' (experience replay, Rolnick et al. 2019). Devices see nothing of it,
and no privacy is spent: the steps depend on public data and on parameters that are protected already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.steps import AroundStep, RoundResult

_BATCH: Final = 32
_WEIGHT_DECAY: Final = 0.01
# 0 draws the classes of a corpus as they fall, 1 draws all as often.
_EVENNESS: Final = 0.55


@dataclass(slots=True)
class ReplayedStep(AroundStep):
    """A step after which the server takes steps of its own, on public data.

    Parameters
    ----------
    step : RoundStep
        How clients' updates become parameters.
    task : ClientTask
        Of a cohort whose first client holds the public data.
    config : RunSettings
    chances : float64 array, shape (N,)
        How often each of its training rows is drawn; see `chances_of`.
    """

    task: ClientTask
    config: RunSettings
    chances: NDArray[np.float64]

    def run(self, number: int, progress: Progress) -> RoundResult:
        """One round; one in which nobody trained stays as it is."""
        result = self.step.run(number, progress)
        if result.clients:
            result.weights = self._replayed(number, result.weights)
        return result

    def _replayed(self, number: int, weights: Tensor) -> Tensor:
        """Parameters after the server's own steps, (P,); these are drawn by seed and round alone."""
        config, whole = self.config, self.task.cohort
        steps, seed = config.retention.replay_steps, config.federation.seed
        rows = np.random.default_rng([seed, number]).choice(whole.rows_of(0), steps * _BATCH, p=self.chances)
        falls = config.lr_at(number) / config.training.lr
        settings = TrainConfig(
            batch_size=_BATCH,
            lr=falls * config.retention.replay_lr,
            optimizer="adamw",
            weight_decay=_WEIGHT_DECAY,
            rating_loss=config.training.rating_loss,
        )
        self.task.cohort = replace(whole, client_rows=rows, client_offsets=np.array([0, len(rows)], np.int64))
        try:
            trained: Tensor = self.task.train(weights, settings, 0, number, seed).weights
            return trained
        finally:
            self.task.cohort = whole


def chances_of(cohort: Cohort) -> NDArray[np.float64]:
    """How often each row of a public cohort's first client is drawn, shape (N,), sum 1.

    Modalities are drawn equally often, corpora of one modality by the square roots of their sizes, and within a corpus
    rare classes more often than they occur. A corpus is a natural owner (``groups``).

    Parameters
    ----------
    cohort : Cohort
    """
    rows = cohort.rows_of(0)
    corpora, labels = cohort.groups[rows], cohort.labels[rows]
    streams = np.stack([present[rows] for present in cohort.present.values()])  # (M, N)
    kinds = np.unique(streams, axis=1, return_inverse=True)[1].reshape(-1)
    chances = np.zeros(len(rows))
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        roots = {int(one): np.sqrt((of_kind & (corpora == one)).sum()) for one in np.unique(corpora[of_kind])}
        for one, root in roots.items():
            own = np.flatnonzero(of_kind & (corpora == one))
            rarity = np.bincount(labels[own])[labels[own]].astype(np.float64) ** -_EVENNESS
            chances[own] = root / sum(roots.values()) * rarity / rarity.sum()
    shares: NDArray[np.float64] = chances / chances.sum()
    return shares
