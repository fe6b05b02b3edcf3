import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from tests.support.counts import weights_of
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client import wire
from fedaffect.client.app import app
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig

SMALL = {"width": 16, "heads": 2, "feedforward": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("cohort") / "c")


@pytest.fixture(autouse=True)
def _identity() -> None:
    """A message takes its sender from the process's task, which Flower's runtime sets."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1


def context(partition: int = 2) -> Context:
    return Context(run_id=1, node_id=99, node_config={"partition-id": partition}, state=RecordDict(), run_config={})


def request(folder: Path, task: ClientTask, config: TrainConfig, kind: str, **settings: object) -> Message:
    record = wire.request_config(folder, "cmt", SMALL, 7, {**config.to_record(), **settings})
    content = RecordDict({wire.ARRAYS: wire.to_record(task.layout, task.initial_weights(0)), wire.CONFIG: record})
    return Message(content=content, message_type=kind, dst_node_id=99)


def test_a_train_message_gives_what_the_task_gives(folder: Path) -> None:
    task = ClientTask(folder, "cmt", SMALL)
    config = TrainConfig(lr=0.1)
    reply = app(request(folder, task, config, MessageType.TRAIN, **{"server-round": 3}), context())
    expected = task.train(task.initial_weights(0), config, client=2, round=3, seed=7)
    assert torch.equal(wire.from_record(task.layout, reply.content.array_records[wire.ARRAYS]), expected.weights)
    metrics = reply.content.metric_records[wire.METRICS]
    assert weights_of(metrics) == expected.counts
    assert metrics["train_loss"] == expected.metrics["train_loss"]


def test_only_the_fusion_layer_travels(folder: Path) -> None:
    task = ClientTask(folder, "cmt", SMALL)
    reply = app(request(folder, task, TrainConfig(), MessageType.TRAIN, **{"server-round": 1}), context())
    assert set(reply.content) == {wire.ARRAYS, wire.METRICS}
    assert set(reply.content.array_records[wire.ARRAYS]) == set(task.layout.names)
    assert all(isinstance(v, int | float) for v in reply.content.metric_records[wire.METRICS].values())


@pytest.mark.slow
def test_a_repeated_round_starts_from_the_same_state(folder: Path) -> None:
    task = ClientTask(folder, "cmt", SMALL)
    device = context()
    config = TrainConfig(lr=1e-3, optimizer="adamw", keep_optimizer=True)

    def weights(round: int) -> torch.Tensor:
        reply = app(request(folder, task, config, MessageType.TRAIN, **{"server-round": round}), device)
        return wire.from_record(task.layout, reply.content.array_records[wire.ARRAYS])

    weights(1)
    second = weights(2)
    assert torch.equal(weights(2), second)
    third = weights(3)
    assert torch.equal(weights(3), third)


def test_divergence_is_an_error_reply_with_its_own_code(folder: Path) -> None:
    task = ClientTask(folder, "cmt", SMALL)
    reply = app(request(folder, task, TrainConfig(lr=1e30), MessageType.TRAIN, **{"server-round": 1}), context())
    assert reply.has_error()
    assert reply.error.code == wire.DIVERGED
    assert "--lr" in (reply.error.reason or "")


def test_evaluate_counts_the_clients_own_rows(folder: Path) -> None:
    task = ClientTask(folder, "cmt", SMALL)
    reply = app(request(folder, task, TrainConfig(), MessageType.EVALUATE, split="test"), context())
    metrics = reply.content.metric_records[wire.METRICS]
    own = task.cohort.splits["test"][task.cohort.groups[task.cohort.splits["test"]] == 2]
    assert metrics["num-examples"] == len(own) > 0
    assert np.sum(metrics["confusion"]) == len(own)


def test_a_query_says_which_partition_answers() -> None:
    message = Message(content=RecordDict(), message_type=MessageType.QUERY, dst_node_id=99)
    reply = app(message, context(3))
    assert reply.content.metric_records[wire.METRICS]["partition-id"] == 3


def test_the_app_imports_neither_torch_nor_opacus_before_a_message() -> None:
    code = "import sys, fedaffect.client.app; raise SystemExit(any(m in sys.modules for m in ('torch', 'opacus')))"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode == 0
