"""One small cohort, and one Ray for all tests of a module: starting it takes longer than all of them."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from flwr.app import Message, RecordDict
from tests.support.constructed_cohort import constructed_cohort
from tests.support.counts import weights_of
from tests.support.faulty_task import open_faulty_task
from torch import Tensor

from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.task import ClientTask
from fedaffect.client.wire import (
    ARRAYS,
    CONFIG,
    CONTROL,
    METRICS,
    PARTIAL_AGGREGATION,
    SUMS,
    from_record,
    request_config,
    to_record,
)
from fedaffect.server.ray_session import ray_session
from fedaffect.simulation.grid import RayGrid

CLIENTS = 10
MODEL_OPTIONS = {"width": 16, "heads": 2, "feedforward": 32}


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid") / "cohort"
    return constructed_cohort(folder, clients=CLIENTS, examples=(4, 24), tokens={"text": 3, "audio": 2}, width=12)


@pytest.fixture(scope="session")
def task(cohort_folder: Path) -> ClientTask:
    # As in an actor: with more threads torch adds in another order.
    torch.set_num_threads(1)
    return ClientTask(cohort_folder, "cmt", MODEL_OPTIONS)


@pytest.fixture(scope="session")
def weights(task: ClientTask) -> Tensor:
    return task.initial_weights(0)


@contextmanager
def ray_leaves_its_files_open() -> Iterator[None]:
    """Ray lets the garbage collector close its files and processes, which is a warning, hence an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture(scope="module")
def connected() -> Iterator[None]:
    session = ray_session(cores=4)
    with ray_leaves_its_files_open():
        # One that an earlier module left would have fewer cores, and a second grid would wait for ever.
        ray.shutdown()
        session.__enter__()
    yield
    with ray_leaves_its_files_open():
        session.__exit__(None, None, None)


@pytest.fixture(scope="module")
def grid(connected: None, cohort_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayGrid]:
    folder = tmp_path_factory.mktemp("states")
    with RayGrid(cohort_folder, actors=2, state_folder=folder, attempts=2, opener=open_faulty_task) as grid:
        yield grid


Messages = Callable[..., list[Message]]


@pytest.fixture
def messages(cohort_folder: Path, task: ClientTask, weights: Tensor) -> Messages:
    """Messages of one round, as a server makes them: one content for all."""

    def make(
        kind: str = "train",
        nodes: list[int] | None = None,
        seed: int = 0,
        round: int = 1,
        control: Tensor | None = None,
        arrays: Tensor = weights,
        partial: bool = False,
        **settings: Any,
    ) -> list[Message]:
        settings = {"server-round": round, "lr": 0.1, "batch-size": 4, PARTIAL_AGGREGATION: partial, **settings}
        content = RecordDict(
            {
                ARRAYS: to_record(task.layout, arrays),
                CONFIG: request_config(cohort_folder, "cmt", MODEL_OPTIONS, seed, settings),
            }
        )
        if control is not None:
            content[CONTROL] = to_record(task.layout, control)
        return [Message(content, node, kind) for node in nodes or range(1, CLIENTS + 1)]

    return make


def total_of(layout: ArrayLayout, replies: list[Message]) -> FixedPointSum:
    """The sum over all replies, summed before or not."""
    total = FixedPointSum(layout)
    for reply in replies:
        if reply.has_error():
            continue
        if SUMS in reply.content:
            arrays = {name: array.numpy() for name, array in reply.content[SUMS].items()}
            total.merge(FixedPointSum.from_arrays(layout, arrays))
        elif ARRAYS in reply.content:
            total.add(from_record(layout, reply.content[ARRAYS]), weights_of(reply.content[METRICS]))
    return total


def same_sum(one: FixedPointSum, other: FixedPointSum) -> bool:
    """Bit for bit."""
    return torch.equal(one.total, other.total) and one.weights == other.weights and one.count == other.count
