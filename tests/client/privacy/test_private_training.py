"""The resident task under privacy: what leaves, what is refused, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.client.privacy.accounting import epsilon
from fedaffect.client.privacy.bounds import require_own_features, require_own_utterances
from fedaffect.client.privacy.local_training import PrivateGradients
from fedaffect.client.privacy.noise import SecureNoise
from fedaffect.client.privacy.plan import private_plan
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError

SMALL = {"width": 16, "heads": 2, "feedforward": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("cohort") / "c", examples=60)


@pytest.fixture
def task(folder: Path) -> ClientTask:
    torch.set_num_threads(1)
    return ClientTask(folder, "cmt", SMALL)


def seeded(**changes: object) -> PrivacyConfig:
    return PrivacyConfig(**{"epsilon": 8.0, "participations": 4, "noise": "seeded", **changes})  # type: ignore[arg-type]


def test_settings_travel() -> None:
    config = TrainConfig(privacy=seeded(clipping="per-layer", clip_norm=0.5))
    assert TrainConfig.from_record(config.to_record()) == config
    assert TrainConfig.from_record(TrainConfig().to_record()).privacy is None


@pytest.mark.parametrize("clipping", ["flat", "per-layer", "ghost"])
def test_both_engines_train_alike(task: ClientTask, clipping: str) -> None:
    weights = task.initial_weights(0)
    made = [
        task.train(weights, TrainConfig(lr=0.05, privacy=seeded(engine=e, clipping=clipping)), 0, 1, 0).weights
        for e in ("fast", "opacus")
    ]
    torch.testing.assert_close(made[0], made[1], rtol=1e-3, atol=1e-4)
    assert (made[0] - weights).norm() > 0.01


def test_seeded_noise_repeats_and_secure_noise_does_not(task: ClientTask) -> None:
    weights = task.initial_weights(0)
    assert not seeded().private
    assert PrivacyConfig(epsilon=8.0).private
    a, b = (task.train(weights, TrainConfig(privacy=seeded()), 0, 1, 0).weights for _ in range(2))
    assert torch.equal(a, b)
    c, d = (task.train(weights, TrainConfig(privacy=PrivacyConfig(epsilon=8.0)), 0, 1, 0).weights for _ in range(2))
    assert not torch.equal(c, d)


def test_nothing_leaves_but_noisy_parameters_and_public_counts(task: ClientTask) -> None:
    update = task.train(task.initial_weights(0), TrainConfig(privacy=PrivacyConfig(epsilon=8.0)), 1, 1, 0)
    assert set(update.metrics) == {"steps"}, "a training loss is read off the examples"
    rows = task.cohort.rows_of(1)
    assert task.cohort.counts(rows)["audio"] < len(rows)
    assert set(update.counts.values()) == {len(rows)}, "how many have a modality is read off the examples"


def test_the_plan_keeps_the_target_over_all_rounds() -> None:
    privacy = PrivacyConfig(epsilon=4.0, participations=7)
    plan = private_plan(privacy, 50, 16, 2, 0)
    assert plan.steps == 8
    assert plan.expected_batch == 16
    assert 3.9 < epsilon([plan.spending] * 7, privacy.delta) <= 4.0
    assert private_plan(privacy, 5, 16, 1, 0).sample_rate == 1.0


def test_poisson_batches_have_the_rate_and_may_be_empty(task: ClientTask) -> None:
    gradients = PrivateGradients(task.model, PrivacyConfig(noise_multiplier=1.0))
    gradients.source = SecureNoise()
    plan = private_plan(PrivacyConfig(noise_multiplier=1.0), 40, 1, 50, 0)
    sizes = [len(rows) for rows in gradients.batches(np.arange(40), plan)]
    assert len(sizes) == plan.steps == 2000
    assert np.mean(sizes) == pytest.approx(1.0, abs=0.15)
    assert sizes.count(0) == pytest.approx(2000 * (1 - 1 / 40) ** 40, rel=0.2)


def test_an_empty_batch_still_adds_noise(task: ClientTask) -> None:
    gradients = PrivateGradients(task.model, PrivacyConfig(noise_multiplier=1.0))
    plan = private_plan(PrivacyConfig(noise_multiplier=1.0), 40, 8, 1, 0)
    gradients.gradient(None, plan)
    flat = torch.cat([p.grad.reshape(-1) for p in task.model.parameters() if p.grad is not None])
    assert float(flat.std()) == pytest.approx(1 / 8, rel=0.05)


@pytest.mark.slow
def test_privacy_costs_but_it_learns(task: ClientTask) -> None:
    weights = task.initial_weights(0)
    config = TrainConfig(lr=0.2, privacy=seeded(participations=6))
    for round in range(1, 7):
        weights = torch.stack([task.train(weights, config, k, round, 0).weights for k in range(4)]).mean(0)
    result = task.evaluate(weights, task.cohort.splits["test"])
    assert np.trace(result.confusion) / result.confusion.sum() > 0.7


def test_what_breaks_the_bound_of_one_example_is_refused() -> None:
    local = PrivacyConfig(epsilon=8.0)
    for loss in ("weighted", "balanced"):
        with pytest.raises(ConfigError, match="bound of one example"):
            TrainConfig(loss=loss, privacy=local)
    with pytest.raises(ConfigError, match="bound of one example"):
        TrainConfig(algorithm="fedrs", privacy=local)
    with pytest.raises(ConfigError, match="bound of one example"):
        require_own_features("local", "client", True)
    with pytest.raises(ConfigError, match="neither bound holds"):
        require_own_utterances(3, ("text",))


def test_what_breaks_the_bound_of_one_client_is_refused() -> None:
    central = PrivacyConfig(kind="central")
    with pytest.raises(ConfigError, match="one client's part"):
        TrainConfig(algorithm="scaffold", privacy=central)
    with pytest.raises(ConfigError, match="each round's data once"):
        TrainConfig(keep_optimizer=True, privacy=central)
    with pytest.raises(ConfigError, match="spread over clients"):
        require_own_features("central", "client", False)
    require_own_features("central", "client", True)
    TrainConfig(loss="balanced", privacy=central)


def test_a_device_refuses_context_whatever_the_server_says(tmp_path: Path) -> None:
    folder = constructed_cohort(tmp_path / "c", widths={"text": 8, "context": 8})
    task = ClientTask(folder, "cmt", SMALL)
    assert "context" in Cohort.load(folder).tables
    for kind in ("local", "central"):
        with pytest.raises(ConfigError, match="what others in the dialogue said"):
            task.train(task.initial_weights(0), TrainConfig(privacy=PrivacyConfig(kind=kind, epsilon=8.0)), 0, 1, 0)


def test_a_whole_update_stays_within_its_norm_and_every_client_weighs_one(task: ClientTask) -> None:
    weights = task.initial_weights(0)
    for clip, within in ((0.05, 0.0), (100.0, 1.0)):
        config = TrainConfig(lr=0.2, privacy=PrivacyConfig(kind="central", clip_norm=clip))
        update = task.train(weights, config, 0, 1, 0)
        norm = float((update.weights - weights).double().norm())
        assert norm <= clip
        assert (norm > 0.99 * clip) == (within == 0.0)
        assert update.metrics == {"within-clip": within}
        assert set(update.counts.values()) == {1}


def test_an_update_that_is_no_number_is_no_update(task: ClientTask) -> None:
    config = TrainConfig(lr=1e30, privacy=PrivacyConfig(kind="central", clip_norm=1.0))
    weights = task.initial_weights(0)
    update = task.train(weights, config, 0, 1, 0)
    assert torch.equal(update.weights, weights)
