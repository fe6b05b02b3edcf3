"""A client learns without torch what it learns with it: the same examples, the same draws, nearly the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.small_cohorts import constructed_cohort
from tests.support.steps import kept_step

from fedaffect.client.cohort import Cohort
from fedaffect.client.loss_names import LOSS_NAMES
from fedaffect.client.losses import EXAMPLE_LOSSES, LOSSES
from fedaffect.client.onnx_engine.graph import StepGraph
from fedaffect.client.onnx_engine.task import OnnxTask
from fedaffect.client.privacy.noise import SecureNoise, add_noise
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError, TrainingError
from fedaffect.server.models.bundling.step import StepModel

# Without dropout, so that both draw the same. A step is traced the longer, the more streams there are.
WIDTHS = {"text": 12, "audio": 8}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "cmt": {"width": 16, "heads": 2, "feedforward": 24, "dropout": 0.0, "token_dropout": 0.0},
    "linear": {},
    "head": {},
}
# How far the way of the one is from the way of the other.
TOLERANCE = 1e-4
SEED = 3
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    made = Cohort.load(constructed_cohort(tmp_path_factory.mktemp("cohort") / "c", widths=WIDTHS))
    votes = np.random.default_rng(0).dirichlet(np.ones(3), len(made.labels)).astype(np.float32)
    return replace(made, soft_labels=votes)


def tasks(cohort: Cohort, model: str) -> tuple[ClientTask, OnnxTask]:
    step = kept_step(StepModel(model, OPTIONS[model], cohort.widths, len(cohort.label_names)))
    return ClientTask(cohort, model, OPTIONS[model]), OnnxTask(cohort, StepGraph(step, model))


def require_same_way(cohort: Cohort, model: str, config: TrainConfig, rounds: int = 1) -> None:
    ours, theirs = [], []
    one, other = tasks(cohort, model)
    start = one.initial_weights(0)
    for task, seen in ((one, theirs), (other, ours)):
        state, weights = None, task.of_array(start.numpy().copy())
        for round in range(1, rounds + 1):
            update = task.train(weights, config, client=1, round=round, seed=SEED, state=state)
            state, weights = update.state, update.weights
            seen.append(update)
    compared = np.ones(len(start), bool)
    if config.optimizer == "adamw":
        # Scores do not depend on what is added to all keys: Adam makes steps of its own length out of rounding.
        for name, begin, end in zip(one.layout.names, one.layout.offsets, one.layout.offsets[1:], strict=False):
            compared[begin:end] = not name.endswith("query_key_value.bias")
    for torchs, onnxs in zip(theirs, ours, strict=True):
        way = (torchs.weights.numpy() - start.numpy())[compared]
        assert np.linalg.norm(way) > 0.01
        apart = np.linalg.norm((onnxs.weights - torchs.weights.numpy())[compared])
        assert apart <= TOLERANCE * np.linalg.norm(way)
        assert onnxs.counts == torchs.counts
        assert onnxs.metrics.keys() == torchs.metrics.keys()
        for name, value in torchs.metrics.items():
            assert onnxs.metrics[name] == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize("model", sorted(OPTIONS))
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.9, "weight_decay": 0.01, "gradient_clip": 0.5},
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
        {"algorithm": "fedprox", "options": {"proximal-mu": 1.0}},
        {"algorithm": "fedrs", "options": {"fedrs-alpha": 0.3}},
        {"modality_dropout": 0.4, "max_steps": 5},
        {"privacy": PrivacyConfig(kind="central", clip_norm=0.05)},
        # Without noise, whose draws are others.
        {"privacy": PrivacyConfig(clip_norm=0.2, noise="seeded"), "modality_dropout": 0.3},
        {"privacy": PrivacyConfig(clip_norm=0.2, clipping="per-layer", noise="seeded")},
    ],
    ids=lambda settings: "-".join(settings) or "plain",
)
def test_it_goes_the_way_that_torch_goes(cohort: Cohort, model: str, settings: dict[str, Any]) -> None:
    config = TrainConfig(**{"local_epochs": 2, "batch_size": 7, "lr": 0.1, **settings})
    require_same_way(cohort, model, config)


@pytest.mark.parametrize("votes", [False, True])
@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_every_loss_is_torchs(cohort: Cohort, loss: str, votes: bool) -> None:
    held = cohort if votes else replace(cohort, soft_labels=None)
    require_same_way(held, "linear", TrainConfig(batch_size=7, lr=0.1, loss=loss))


def test_every_loss_has_a_name_that_is_checked_without_torch() -> None:
    assert set(LOSS_NAMES) == set(LOSSES)
    assert set(EXAMPLE_LOSSES) < set(LOSS_NAMES)


@pytest.mark.parametrize("settings", [{"optimizer": "adamw", "lr": 0.01}, {"momentum": 0.9, "lr": 0.05}])
def test_what_an_optimiser_keeps_goes_on_in_the_next_round(cohort: Cohort, settings: dict[str, Any]) -> None:
    require_same_way(cohort, "linear", TrainConfig(keep_optimizer=True, **settings), rounds=3)


def test_it_answers_what_torch_answers(cohort: Cohort) -> None:
    one, other = tasks(cohort, "cmt")
    start = one.initial_weights(1)
    rows = other.rows_for(0, "dev")
    torchs, ours = one.evaluate(start, rows), other.evaluate(start.numpy(), rows)
    np.testing.assert_allclose(ours.probabilities, torchs.probabilities, atol=1e-5)
    np.testing.assert_array_equal(ours.confusion, torchs.confusion)
    assert ours.loss_sum == pytest.approx(torchs.loss_sum, rel=1e-4)


def test_noise_has_the_deviation_that_is_accounted_for_in_arrays_too() -> None:
    total = np.zeros(200_001, np.float32)
    add_noise(total, 2.0, 0.5, SecureNoise(), divisor=4.0)
    assert total.std() == pytest.approx(2.0 * 0.5 / 4.0, rel=0.02)
    same, tensor = np.ones(1000, np.float32), torch.ones(1000)
    add_noise(same, 1.0, 1.0, SecureNoise(bytes(32)))
    add_noise(tensor, 1.0, 1.0, SecureNoise(bytes(32)))
    np.testing.assert_array_equal(same, tensor.numpy())


def test_private_training_is_not_to_be_drawn_again(cohort: Cohort) -> None:
    _, task = tasks(cohort, "linear")
    start = task.of_array(np.zeros(task.layout.size, np.float32))
    config = TrainConfig(batch_size=8, privacy=PrivacyConfig(epsilon=4.0))
    first, second = (task.train(start, config, client=0, round=1, seed=SEED) for _ in range(2))
    assert not np.array_equal(first.weights, second.weights)
    assert first.metrics.keys() == {"steps"}
    plain = TrainConfig(batch_size=8)
    first, second = (task.train(start, plain, client=0, round=1, seed=SEED) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)


def test_what_it_cannot_learn_it_says_with_the_remedy(cohort: Cohort) -> None:
    _, task = tasks(cohort, "linear")
    for algorithm in ("scaffold", "fedrep", "ditto"):
        with pytest.raises(ConfigError, match=r"torch alone.*pip install 'fedaffect\[client\]'") as caught:
            task.shared(algorithm)
        assert len(str(caught.value)) <= 160
    start = np.full(task.layout.size, 1e30, np.float32)
    with pytest.raises(TrainingError, match="not a number"):
        task.train(start, TrainConfig(lr=1e30, local_epochs=3), client=0, round=1, seed=SEED)


def test_dropout_is_drawn_from_the_rounds_own_seed(cohort: Cohort) -> None:
    options = {"width": 8, "feedforward": 12, "dropout": 0.3}
    step = kept_step(StepModel("early", options, cohort.widths, len(cohort.label_names)))
    task, config = OnnxTask(cohort, StepGraph(step, "early")), TrainConfig(batch_size=8)
    start = ClientTask(cohort, "early", options).initial_weights(0).numpy()
    learned = [task.train(start, config, client=0, round=round, seed=SEED).weights for round in (1, 1, 2)]
    np.testing.assert_array_equal(learned[0], learned[1])
    assert not np.array_equal(learned[0], learned[2])
