from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.modality_dropout import drop_modalities
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError, TrainingError

SMALL = {"width": 16, "heads": 2, "feedforward": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("cohort") / "c")


@pytest.fixture
def task(folder: Path) -> ClientTask:
    torch.set_num_threads(1)
    return ClientTask(folder, "cmt", SMALL)


def test_rounds_of_averaging_learn(task: ClientTask) -> None:
    config = TrainConfig(lr=0.1, batch_size=8, local_epochs=2)
    weights = task.initial_weights(0)
    before = task.evaluate(weights, task.cohort.splits["test"])
    for round in range(1, 7):
        weights = torch.stack([task.train(weights, config, k, round, 0).weights for k in range(4)]).mean(0)
    after = task.evaluate(weights, task.cohort.splits["test"])
    assert np.trace(after.confusion) / after.confusion.sum() > 0.85
    assert after.loss_sum < before.loss_sum
    assert after.confusion.sum() == len(task.cohort.splits["test"])


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(lr=0.1),
        TrainConfig(lr=0.01, momentum=0.9, gradient_clip=1.0),
        TrainConfig(lr=1e-3, optimizer="adamw", weight_decay=0.01, modality_dropout=0.3),
        TrainConfig(lr=0.1, algorithm="fedprox", options={"proximal-mu": 0.1}),
        TrainConfig(lr=0.1, algorithm="fedrs", options={"fedrs-alpha": 0.5}, loss="focal"),
    ],
    ids=lambda c: f"{c.algorithm}-{c.optimizer}-{c.momentum}",
)
def test_an_update_does_not_depend_on_whom_the_resident_task_served_before(
    task: ClientTask, folder: Path, config: TrainConfig
) -> None:
    weights = task.initial_weights(3)
    fresh = ClientTask(folder, "cmt", SMALL).train(weights, config, 2, 5, 7)
    for other in (0, 1, 3):
        task.train(weights, config, other, 5, 7)
    task.evaluate(weights * 2, task.cohort.splits["dev"])
    again = task.train(weights, config, 2, 5, 7)
    assert torch.equal(fresh.weights, again.weights)
    assert fresh.metrics == again.metrics
    assert not torch.equal(fresh.weights, task.train(weights, config, 2, 6, 7).weights), "rounds draw again"
    assert not torch.equal(fresh.weights, task.train(weights, config, 2, 5, 8).weights), "seeds draw again"


def test_counts_are_of_examples_that_have_the_modality(task: ClientTask) -> None:
    update = task.train(task.initial_weights(0), TrainConfig(), 1, 1, 0)
    rows = task.cohort.rows_of(1)
    assert update.counts[""] == len(rows)
    assert update.counts["audio"] == int(task.cohort.present["audio"][rows].sum()) < len(rows)


def test_fedprox_stays_nearer_to_where_the_round_began(task: ClientTask) -> None:
    weights = task.initial_weights(0)
    drift = [
        (task.train(weights, TrainConfig(lr=0.1, local_epochs=3, algorithm=a, options=o), 0, 1, 0).weights - weights)
        .norm()
        .item()
        for a, o in (("fedavg", {}), ("fedprox", {"proximal-mu": 1.0}))
    ]
    assert drift[1] < 0.9 * drift[0]


def test_scaffold_with_zero_controls_is_fedavg_and_sends_the_mean_gradient(task: ClientTask) -> None:
    weights = task.initial_weights(0)
    config = TrainConfig(lr=0.05, algorithm="scaffold")
    zero = torch.zeros_like(weights)
    plain = task.train(weights, TrainConfig(lr=0.05), 0, 1, 0)
    update = task.train(weights, config, 0, 1, 0, server_control=zero)
    torch.testing.assert_close(update.weights, plain.weights)
    steps = update.metrics["steps"]
    torch.testing.assert_close(update.extra["control"], (weights - plain.weights) / (steps * 0.05))
    assert update.state is not None
    torch.testing.assert_close(update.state.tensors["control"], update.extra["control"])


def test_scaffold_steps_along_the_corrected_gradient(task: ClientTask) -> None:
    weights = task.initial_weights(0)
    one_step = TrainConfig(lr=0.05, algorithm="scaffold", max_steps=1)
    torch.manual_seed(0)
    control = torch.randn_like(weights) * 0.01
    plain = task.train(weights, one_step, 0, 1, 0, server_control=torch.zeros_like(weights))
    corrected = task.train(weights, one_step, 0, 1, 0, server_control=control)
    torch.testing.assert_close(corrected.weights, plain.weights - 0.05 * control, atol=1e-6, rtol=1e-5)


def test_scaffold_refuses_adaptive_steps_and_a_missing_control(task: ClientTask) -> None:
    with pytest.raises(ConfigError, match="plain SGD"):
        TrainConfig(algorithm="scaffold", optimizer="adamw")
    with pytest.raises(TrainingError, match="control"):
        task.train(task.initial_weights(0), TrainConfig(algorithm="scaffold"), 0, 1, 0)


def test_a_kept_optimizer_goes_on_where_it_stopped(task: ClientTask) -> None:
    weights = task.initial_weights(0)
    config = TrainConfig(lr=1e-3, optimizer="adamw", keep_optimizer=True)
    first = task.train(weights, config, 0, 1, 0)
    resumed = task.train(first.weights, config, 0, 2, 0, state=first.state)
    forgot = task.train(first.weights, config, 0, 2, 0)
    assert resumed.state is not None
    assert {float(v) for k, v in resumed.state.tensors.items() if k.endswith(".step")} == {4.0}
    assert not torch.equal(resumed.weights, forgot.weights)


def test_a_loss_that_is_not_a_number_names_client_round_and_remedy(task: ClientTask) -> None:
    with pytest.raises(TrainingError, match=r"client 1 in round 4 .*--lr"):
        task.train(task.initial_weights(0), TrainConfig(lr=1e30), 1, 4, 0)


def test_settings_survive_the_wire() -> None:
    config = TrainConfig(
        lr=0.3, optimizer="adamw", loss="focal", algorithm="fedprox", options={"proximal-mu": 0.2}, keep_optimizer=True
    )
    assert TrainConfig.from_record(config.to_record() | {"server-round": 3, "cohort": "x"}) == config


def test_modality_dropout_hides_whole_modalities_and_never_all() -> None:
    present = {s: torch.ones(400, 3, dtype=torch.bool) for s in ("text", "audio")}
    present["audio"][:100] = False
    dropped = drop_modalities(present, 0.4, np.random.default_rng(0).random)
    held = torch.stack([dropped[s].any(1) for s in present], 1)
    assert held.any(1).all()
    assert held[:100, 0].all(), "the only modality a sample has is never dropped"
    # A sample loses text alone with 0.4 * 0.6.
    assert abs((~held[100:, 0]).float().mean().item() - 0.24) < 0.08
    for mask in dropped.values():
        assert (mask.all(1) == mask.any(1)).all()
