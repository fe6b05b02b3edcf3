"""FedPer, FedRep and Ditto on one client, against local training and against steps written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.support.small_cohorts import constructed_cohort
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedaffect.client.local_task import client_seed
from fedaffect.client.models.registry import build_model
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import ClientState, Update
from fedaffect.edge.errors import ConfigError

LR, SEED, CLIENT = 0.1, 5, 2
PLAIN = {"lr": LR, "batch_size": 8, "local_epochs": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("cohort") / "c")


@pytest.fixture
def task(folder: Path) -> ClientTask:
    torch.set_num_threads(1)
    return ClientTask(folder, "linear")


def rounds(task: ClientTask, config: TrainConfig, number: int) -> tuple[Tensor, ClientState | None]:
    """The model of a client that is alone with a server which takes over what it shares."""
    weights, state = task.initial_weights(0), None
    shared = task.shared(config.algorithm)
    for round in range(1, number + 1):
        update = task.train(weights, config, CLIENT, round, SEED, state)
        weights, state = shared.put(weights, update.weights), update.state
    return weights, state


def by_hand(
    task: ClientTask,
    start: Tensor,
    order: np.random.Generator,
    turns: list[tuple[int, str]],
    anchor: Tensor | None = None,
    strength: float = 0.0,
) -> Tensor:
    """Plain SGD over the cohort's batches: ``turns`` of (epochs, what is frozen), pulled towards the anchor."""
    model = build_model("linear", task.cohort.widths, len(task.cohort.label_names), {})
    sizes = [p.numel() for p in model.parameters()]
    with torch.no_grad():
        for p, values in zip(model.parameters(), start.split(sizes), strict=True):
            p.copy_(values.view_as(p))
    there = (start if anchor is None else anchor).split(sizes)
    rows = task.cohort.rows_of(CLIENT)
    for epochs, frozen in turns:
        for _ in range(epochs):
            shuffled = rows[order.permutation(len(rows))]
            for place in range(0, len(rows), 8):
                batch = task.cohort.gather(shuffled[place : place + 8], train=True)
                model.zero_grad()
                cross_entropy(model(batch.tokens, batch.present), batch.labels).backward()
                with torch.no_grad():
                    for (name, p), w in zip(model.named_parameters(), there, strict=True):
                        if p.grad is not None and name.split(".")[0] != frozen:
                            p -= LR * (p.grad + strength * (p - w.view_as(p)))
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def draws() -> np.random.Generator:
    return np.random.default_rng(client_seed(SEED, 1, CLIENT))


def test_fedper_with_one_client_is_local_training(task: ClientTask) -> None:
    alone, _ = rounds(task, TrainConfig(**PLAIN), 3)
    weights, state = rounds(task, TrainConfig(**PLAIN, algorithm="fedper"), 3)
    shared = task.shared("fedper")
    assert state is not None
    assert torch.equal(shared.put_own(weights, state.tensors["head"]), alone)
    assert torch.equal(shared.take_own(weights), shared.take_own(task.initial_weights(0))), "the server's never moved"


def test_fedrep_trains_the_head_first_and_then_the_representation(task: ClientTask) -> None:
    start, shared = task.initial_weights(0), task.shared("fedrep")
    config = TrainConfig(**PLAIN, algorithm="fedrep", options={"option.representation-epochs": 1.0})
    update = task.train(start, config, CLIENT, 1, SEED)
    assert update.state is not None
    made = shared.put_own(shared.put(start, update.weights), update.state.tensors["head"])
    expected = by_hand(task, start, draws(), [(2, "adapters"), (1, "head")])
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)
    together = by_hand(task, start, draws(), [(3, "")])
    assert (made - together).abs().max() > 1e-3, "it is not what training both at once gives"
    with pytest.raises(ConfigError, match=r"representation-epochs.*raise --local-epochs"):
        task.train(start, TrainConfig(algorithm="fedrep"), CLIENT, 1, SEED)


def test_dittos_own_model_takes_proximal_steps_and_its_shared_one_none(task: ClientTask) -> None:
    start = task.initial_weights(0)
    config = TrainConfig(**PLAIN, algorithm="ditto", options={"option.lambda": 0.5, "option.personal-epochs": 2.0})
    kept = ClientState(0, {"model": task.initial_weights(9)})
    update = task.train(start, config, CLIENT, 1, SEED, kept)
    plain = task.train(start, TrainConfig(**PLAIN), CLIENT, 1, SEED)
    assert torch.equal(update.weights, plain.weights)
    assert update.metrics == plain.metrics, "neither its loss nor its steps are told"
    assert update.state is not None
    # The shared model's three epochs take their shuffles first.
    order = draws()
    for _ in range(3):
        order.permutation(len(task.cohort.rows_of(CLIENT)))
    expected = by_hand(task, kept.tensors["model"], order, [(2, "")], start, 0.5)
    torch.testing.assert_close(update.state.tensors["model"], expected, atol=1e-6, rtol=0)
    first = task.train(start, config, CLIENT, 1, SEED)
    assert first.state is not None
    assert not torch.equal(first.state.tensors["model"], update.state.tensors["model"]), "it goes on from what it kept"


@pytest.mark.parametrize("algorithm", ["fedper", "fedrep", "ditto"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_update_does_not_depend_on_whom_the_task_served_before(
    task: ClientTask, folder: Path, algorithm: str, optimizer: str
) -> None:
    config = TrainConfig(**PLAIN, algorithm=algorithm, optimizer=optimizer, keep_optimizer=True)
    start = task.initial_weights(0)
    kept = task.train(start, config, CLIENT, 1, SEED).state
    fresh = ClientTask(folder, "linear").train(start, config, CLIENT, 2, SEED, kept)
    task.train(start, config, 0, 2, SEED)
    again = task.train(start, config, CLIENT, 2, SEED, kept)
    assert torch.equal(fresh.weights, again.weights)
    assert states(fresh).keys() == states(again).keys()
    assert all(torch.equal(tensor, states(again)[name]) for name, tensor in states(fresh).items())
    assert len(again.weights) == task.shared(algorithm).layout.size


def states(update: Update) -> dict[str, Tensor]:
    assert update.state is not None
    return dict(update.state.tensors)


def test_central_privacy_clips_what_is_shared_and_nothing_else(task: ClientTask) -> None:
    start, shared = task.initial_weights(0), task.shared("fedper")
    plain = task.train(start, TrainConfig(**PLAIN, algorithm="fedper"), CLIENT, 1, SEED)
    privacy = PrivacyConfig(kind="central", clip_norm=0.5 * float((plain.weights - shared.take(start)).norm()))
    clipped = task.train(start, TrainConfig(**PLAIN, algorithm="fedper", privacy=privacy), CLIENT, 1, SEED)
    change = (clipped.weights - shared.take(start)).double().norm()
    assert float(change) == pytest.approx(privacy.clip_norm, rel=1e-3), "the head takes nothing of the bound"
    assert torch.equal(states(clipped)["head"], states(plain)["head"]), "nor is it clipped"


def test_local_privacy_covers_a_head_that_later_gradients_pass_and_not_a_model_beside(task: ClientTask) -> None:
    privacy = PrivacyConfig(kind="local", clip_norm=1.0, noise="seeded", noise_multiplier=1.0)
    noisy = {**PLAIN, "privacy": privacy}
    start = task.initial_weights(0)
    shared = task.shared("fedper")
    all_noisy = task.train(start, TrainConfig(**noisy), CLIENT, 1, SEED)
    fedper = task.train(start, TrainConfig(**noisy, algorithm="fedper"), CLIENT, 1, SEED)
    assert torch.equal(fedper.weights, shared.take(all_noisy.weights))
    assert torch.equal(states(fedper)["head"], shared.take_own(all_noisy.weights))
    rep = task.train(start, TrainConfig(**noisy, algorithm="fedrep"), CLIENT, 1, SEED)
    assert rep.metrics == fedper.metrics, "as many steps as are accounted for"
    ditto = task.train(start, TrainConfig(**noisy, algorithm="ditto"), CLIENT, 1, SEED)
    assert torch.equal(ditto.weights, all_noisy.weights)
    assert ditto.metrics == all_noisy.metrics
