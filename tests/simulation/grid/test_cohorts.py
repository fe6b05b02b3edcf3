"""A worker whose clients train at once answers as one whose clients train one after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import MessageType
from tests.simulation.grid.conftest import CLIENTS
from torch import Tensor

from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.task import ClientTask
from fedaffect.client.wire import ARRAYS, DIVERGED, PARTIAL_AGGREGATION, SUMS, request_config
from fedaffect.simulation.grid.worker import ClientWorker, Outcome, Request

# The model's own dropout is drawn for all clients of a cohort together.
OPTIONS = {"width": 16, "heads": 2, "feedforward": 32, "dropout": 0.0, "token_dropout": 0.0}


@pytest.fixture
def plain(cohort_folder: Path) -> ClientTask:
    torch.set_num_threads(1)
    return ClientTask(cohort_folder, "cmt", OPTIONS)


def request(folder: Path, task: ClientTask, weights: Tensor | None = None, **settings: Any) -> Request:
    config = request_config(folder, "cmt", OPTIONS, 0, {"server-round": 1, "lr": 0.1, "batch-size": 4, **settings})
    start = task.initial_weights(0) if weights is None else weights
    return Request("0", MessageType.TRAIN, dict(config), {ARRAYS: task.layout.unflatten(start)})


def answered(folder: Path, asked: Request, size: int) -> tuple[dict[int, Outcome], ClientWorker]:
    worker = ClientWorker(folder / "states", cohort_size=size)
    outcomes, _ = worker.run(asked, range(CLIENTS))
    assert len(outcomes) == CLIENTS
    return {outcome.client: outcome for outcome in outcomes}, worker


def close(one: Mapping[int, Outcome], other: Mapping[int, Outcome], start: Tensor) -> bool:
    for client in range(CLIENTS):
        a, b = (torch.from_numpy(made[client].arrays[ARRAYS]) for made in (one, other))
        if not (a - b).norm() < 2e-4 * (a - start).norm() or torch.equal(a, start):
            return False
        assert one[client].metrics == pytest.approx(other[client].metrics, rel=1e-4)
    return True


def test_outcomes_and_sums_are_the_same(tmp_path: Path, cohort_folder: Path, plain: ClientTask) -> None:
    asked = request(cohort_folder, plain)
    alone, _ = answered(tmp_path, asked, 1)
    together, _ = answered(tmp_path, asked, 4)
    assert close(alone, together, plain.initial_weights(0))
    assert any(not torch.equal(*(torch.from_numpy(o[c].arrays[ARRAYS]) for o in (alone, together))) for c in alone), (
        "the same bits would mean that they trained one by one"
    )
    sums = []
    for size in (1, 4):
        _, worker = answered(tmp_path, request(cohort_folder, plain, **{PARTIAL_AGGREGATION: True}), size)
        sums.append(FixedPointSum.from_arrays(plain.layout, worker.collect("0")[SUMS]).mean(plain.initial_weights(0)))
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-3, atol=1e-5)


def test_what_cannot_train_at_once_trains_one_by_one_and_says_why(
    tmp_path: Path, cohort_folder: Path, plain: ClientTask, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setattr(logging.getLogger("fedaffect.simulation.grid.cohorts"), "propagate", True)
    asked = request(cohort_folder, plain, loss="weighted")
    alone, _ = answered(tmp_path, asked, 1)
    together, _ = answered(tmp_path, asked, 4)
    assert all((alone[c].arrays[ARRAYS] == together[c].arrays[ARRAYS]).all() for c in alone)
    assert caplog.text.count("--loss weighted is no mean over examples; train clients one by one") == 1


def test_clients_that_fail_are_answered_alone(tmp_path: Path, cohort_folder: Path, plain: ClientTask) -> None:
    diverging = request(cohort_folder, plain, plain.initial_weights(0) * 1e30)
    outcomes, _ = answered(tmp_path, diverging, 4)
    assert {outcome.error[0] for outcome in outcomes.values() if outcome.error} == {DIVERGED}
    assert all(outcome.error for outcome in outcomes.values())
