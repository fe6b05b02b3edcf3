"""One client among those that train at once: its draws, which are those it would make alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort
from fedaffect.client.local_task import client_seed
from fedaffect.client.privacy.noise import NoiseSource, SeededNoise
from fedaffect.client.privacy.plan import PrivatePlan, private_plan
from fedaffect.client.privacy.settings import LOCAL, SEEDED, PrivacyConfig
from fedaffect.client.train_config import TrainConfig


@dataclass(frozen=True, slots=True)
class Portion:
    """One client's share of a step.

    Parameters
    ----------
    rows : int64 array, shape (B_k,)
        Empty where a Poisson batch is.
    hidden : bool array, shape (B_k, M)
        Modalities that dropout hides.
    """

    rows: NDArray[np.int64]
    hidden: NDArray[np.bool_]


@dataclass(slots=True)
class Member:
    """A client, and how far it is.

    Parameters
    ----------
    client : int
        Partition id.
    rows : int64 array, shape (N,)
    seed : int
        The client's, in this round.
    plan : PrivatePlan, optional
        Under local privacy.
    source : NoiseSource, optional
        Under local privacy.
    steps : int
        Taken so far.
    """

    client: int
    rows: NDArray[np.int64]
    seed: int
    plan: PrivatePlan | None = None
    source: NoiseSource | None = None
    steps: int = field(default=0)

    def portions(self, config: TrainConfig, streams: int) -> Iterator[Portion]:
        """What it learns from in each step, in the order of draws of :meth:`fedaffect.client.task.ClientTask.train`."""
        order = np.random.default_rng(self.seed)
        for rows in self._batches(config, order):
            drops = bool(config.modality_dropout) and len(rows) > 0
            shape = (len(rows), streams)
            uniforms = order.random if self.source is None else self.source.uniforms
            drawn = uniforms(len(rows) * streams).reshape(shape) if drops else np.ones(shape)
            hidden = drawn < config.modality_dropout
            yield Portion(rows, hidden)

    def _batches(self, config: TrainConfig, order: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        if self.plan is not None and self.source is not None:
            for _ in range(self.plan.steps):
                yield self.rows[self.source.uniforms(len(self.rows)) < self.plan.sample_rate]
            return
        taken = 0
        for _ in range(config.local_epochs):
            shuffled = self.rows[order.permutation(len(self.rows))]
            for place in range(0, len(shuffled), config.batch_size):
                if config.max_steps and taken >= config.max_steps:
                    return
                yield shuffled[place : place + config.batch_size]
                taken += 1


def member(cohort: Cohort, config: TrainConfig, client: int, round: int, seed: int, secure: NoiseSource) -> Member:
    """A client before its first step.

    Parameters
    ----------
    cohort : Cohort
    config : TrainConfig
    client, round, seed : int
        As in :meth:`fedaffect.client.task.ClientTask.train`.
    secure : NoiseSource
        Noise that nobody can predict, for those whose settings do not ask for seeded noise.
    """
    rows, derived = cohort.rows_of(client), client_seed(seed, round, client)
    privacy: PrivacyConfig | None = config.privacy
    if privacy is None or privacy.kind != LOCAL:
        return Member(client, rows, derived)
    plan = private_plan(privacy, len(rows), config.batch_size, config.local_epochs, config.max_steps)
    return Member(client, rows, derived, plan, SeededNoise(derived) if privacy.noise == SEEDED else secure)
