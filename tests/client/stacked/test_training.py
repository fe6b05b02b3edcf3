"""Clients trained at once have the updates that they have one after the other."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.privacy.noise import SecureNoise
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.stacked.member import member
from fedaffect.client.stacked.training import CohortTrainer
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import Update
from fedaffect.edge.errors import ConfigError, TrainingError

# A model's own dropout is drawn for all clients together, so it is off where numbers are compared.
SMALL = {"width": 16, "heads": 2, "feedforward": 32, "dropout": 0.0, "token_dropout": 0.0}
CLIENTS = (4, 0, 2, 3)
PLAIN = TrainConfig(lr=0.1, batch_size=7)
SEEDED = PrivacyConfig(epsilon=8.0, participations=4, noise="seeded", clip_norm=0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("cohort") / "c", clients=5)


def task_of(folder: Path, model: str = "cmt", options: Mapping[str, Any] = MappingProxyType({})) -> ClientTask:
    """Clients of unequal size, so that they take unequally many steps."""
    torch.set_num_threads(1)
    task = ClientTask(folder, model, options)
    task.cohort = replace(task.cohort, client_offsets=np.array([0, 30, 37, 70, 91, 120]))
    return task


@pytest.fixture
def task(folder: Path) -> ClientTask:
    return task_of(folder, options=SMALL)


def both_ways(task: ClientTask, config: TrainConfig) -> tuple[list[Update], list[Update]]:
    weights = task.initial_weights(0)
    alone = [task.train(weights, config, client, 3, 1) for client in CLIENTS]
    together = CohortTrainer(task).train(weights, config, CLIENTS, 3, 1)
    made = [update for update in together if isinstance(update, Update)]
    assert len(made) == len(CLIENTS)
    return alone, made


def with_gradients(task: ClientTask) -> torch.Tensor:
    """Where gradients are more than rounding, shape (P,).

    The softmax of attention does not see its keys' biases; AdamW makes whole steps of what rounding leaves there.
    """
    mask, layout = torch.ones(task.layout.size, dtype=torch.bool), task.layout
    for name, start, stop in zip(layout.names, layout.offsets, layout.offsets[1:], strict=False):
        if name.endswith("query_key_value.bias"):
            third = (stop - start) // 3
            mask[start + third : start + 2 * third] = False
    return mask


def require_equal(task: ClientTask, alone: list[Update], together: list[Update]) -> None:
    start, mask = task.initial_weights(0), with_gradients(task)
    for one, other in zip(alone, together, strict=True):
        change = (one.weights - start)[mask]
        assert change.norm() > 0.01
        # Rounding of single precision, in another order of sums.
        assert (other.weights - one.weights)[mask].norm() < 2e-4 * change.norm()
        assert one.counts == other.counts
        assert one.metrics == pytest.approx(other.metrics, rel=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        replace(PLAIN, momentum=0.9, weight_decay=0.01, local_epochs=2),
        replace(PLAIN, optimizer="adamw", lr=0.01, weight_decay=0.01),
        replace(PLAIN, loss="balanced", gradient_clip=0.3, max_steps=3),
        replace(PLAIN, loss="smoothed", modality_dropout=0.4),
        replace(PLAIN, algorithm="fedprox", options={"proximal-mu": 0.5}, local_epochs=2),
        replace(PLAIN, algorithm="fedrs", options={"fedrs-alpha": 0.3}, loss="focal"),
        replace(PLAIN, privacy=PrivacyConfig(kind="central", clip_norm=0.2)),
    ],
    ids=["sgd", "momentum", "adamw", "balanced-clip", "modality-dropout", "fedprox", "fedrs", "central"],
)
def test_updates_are_those_of_clients_alone(task: ClientTask, config: TrainConfig) -> None:
    alone, together = both_ways(task, config)
    assert len({update.metrics.get("steps") for update in alone}) > 1 or config.max_steps or config.privacy
    require_equal(task, alone, together)


@pytest.mark.parametrize("clipping", ["flat", "per-layer"])
def test_under_privacy_too(task: ClientTask, clipping: str) -> None:
    """Poisson batches, clipping and seeded noise are each client's own."""
    config = replace(PLAIN, privacy=replace(SEEDED, clipping=clipping), modality_dropout=0.3)
    alone, together = both_ways(task, config)
    require_equal(task, alone, together)
    assert all(set(update.metrics) == {"steps"} for update in together)


def batch_sizes(task: ClientTask, config: TrainConfig, client: int, round: int) -> list[int]:
    who = member(task.cohort, config, client, round, 1, SecureNoise())
    return [len(portion.rows) for portion in who.portions(config, 3)]


def test_poisson_batches_that_are_empty_are_steps_all_the_same(task: ClientTask) -> None:
    config = replace(PLAIN, batch_size=1, max_steps=8, privacy=SEEDED)
    sizes = [size for client in CLIENTS for size in batch_sizes(task, config, client, 3)]
    assert 0 in sizes
    assert max(sizes) > 0
    alone, together = both_ways(task, config)
    require_equal(task, alone, together)
    # All clients' batches are empty in the same step.
    trainer, config = CohortTrainer(task), replace(config, max_steps=1)
    empty = next(round for round in range(100) if batch_sizes(task, config, 2, round) == [0])
    (made,) = trainer.train(task.initial_weights(0), config, (2,), empty, 1)
    assert isinstance(made, Update)
    expected = task.train(task.initial_weights(0), config, 2, empty, 1).weights
    torch.testing.assert_close(made.weights, expected)


@pytest.mark.parametrize("model", ["linear", "head"])
def test_other_models(folder: Path, model: str) -> None:
    task = task_of(folder, model)
    for config in (PLAIN, replace(PLAIN, privacy=SEEDED)):
        alone, together = both_ways(task, config)
        require_equal(task, alone, together)


def test_a_trainer_forgets_its_last_cohort(task: ClientTask) -> None:
    weights, trainer = task.initial_weights(0), CohortTrainer(task)
    config = replace(PLAIN, momentum=0.9)
    first = trainer.train(weights, config, CLIENTS, 3, 1)
    trainer.train(weights + 1, replace(config, lr=1.0), CLIENTS[::-1], 4, 1)
    again = trainer.train(weights, config, CLIENTS, 3, 1)
    for one, other in zip(first, again, strict=True):
        assert isinstance(one, Update)
        assert isinstance(other, Update)
        assert torch.equal(one.weights, other.weights)


def test_one_that_fails_does_not_stop_the_others(task: ClientTask) -> None:
    """A client whose loss is no number, among others whose loss is one."""
    broken = task.cohort.rows_of(1)
    weights = task.initial_weights(0)
    table = task.cohort.tables["text"]
    tokens = table.tokens.copy()
    tokens[table.offsets[broken[0]] : table.offsets[broken[-1] + 1]] = float("inf")
    object.__setattr__(table, "tokens", tokens)
    good, bad = CohortTrainer(task).train(weights, PLAIN, (0, 1), 3, 1)
    assert isinstance(bad, TrainingError)
    assert isinstance(good, Update)
    assert (good.weights - task.train(weights, PLAIN, 0, 3, 1).weights).norm() < 1e-4


@pytest.mark.parametrize(
    "config",
    [
        replace(PLAIN, algorithm="scaffold"),
        replace(PLAIN, keep_optimizer=True),
        replace(PLAIN, loss="weighted"),
        replace(PLAIN, privacy=replace(SEEDED, engine="opacus")),
    ],
)
def test_what_needs_one_client_at_a_time_is_refused(task: ClientTask, config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="one by one"):
        CohortTrainer(task).train(task.initial_weights(0), config, CLIENTS, 3, 1)
