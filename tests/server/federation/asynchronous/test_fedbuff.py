"""Asynchronous federation: the arithmetic of the buffer, who trains when, and runs that are stopped anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context, Message
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import ARRAYS, METRICS
from fedaffect.edge.errors import ConfigError, TrainingError
from fedaffect.server.federation.asynchronous.buffer import BufferedUpdate, empty_buffer, staleness_weight
from fedaffect.server.federation.asynchronous.pace import Trip
from fedaffect.server.federation.asynchronous.schedule import Schedule
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS = 8
LAYOUT = ArrayLayout(("adapters.text.weight", "head"), ((2,), (3,)))
ConfigOf = Callable[..., RunSettings]


class DrawnPace:
    """Speeds an order of magnitude apart, and one in ten never answers."""

    def __init__(self, clients: int = CLIENTS, seed: int = 0, dropout: float = 0.1) -> None:
        self.clients, self.seed, self.dropout = clients, seed, dropout

    def online(self, at_s: float) -> NDArray[np.bool_]:
        return np.ones(self.clients, bool)

    def trip(self, client: int, start: int, at_s: float) -> Trip:
        generator = np.random.default_rng([self.seed, client, start])
        return Trip(1.0 + 3.0 * client * generator.random(), bool(generator.random() >= self.dropout))

    def describe(self) -> dict[str, Any]:
        return {"name": "drawn"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("async") / "cohort", clients=CLIENTS, examples=12)


@pytest.fixture
def buffered(config_of: ConfigOf) -> ConfigOf:
    def make(**settings: Any) -> RunSettings:
        small = {"mode": "async", "buffer_size": 3, "concurrency": 5, "clients_per_round": None, "rounds": 6}
        return config_of(**{**small, **settings})

    return make


def run(
    config: RunSettings, cohort: Path, grid: InProcessGrid | None = None, pace: Any = None, **more: Any
) -> RunFolder:
    torch.set_num_threads(1)
    path = config.output.out / config.run_name
    folder = RunFolder.open(path) if more.get("resume") else RunFolder.create(config)
    run_federation(grid or InProcessGrid(CLIENTS), config, cohort, folder, pace=pace, **more)
    return folder


def arrays_of(folder: RunFolder) -> dict[int, dict[str, bytes]]:
    return {
        number: {name: array.tobytes() for name, array in folder.checkpoints.load(number).arrays.items()}
        for number in folder.checkpoints.rounds()
    }


def sent(start: int, version: int, change: list[float], text: int = 1) -> BufferedUpdate:
    return BufferedUpdate(start, start, version, torch.tensor(change), {"": 4, "text": text}, 1.0)


def test_old_updates_weigh_less_and_adapters_count_who_has_the_modality() -> None:
    current = torch.full((5,), 10.0)
    fresh = empty_buffer(
        LAYOUT,
        current,
        [
            sent(1, 7, [1.0] * 5),
            sent(2, 4, [2.0] * 5),
            sent(3, 7, [0, 0, 4, 4, 4], text=0),
        ],
        7,
    )
    assert staleness_weight(0) == 1.0
    assert staleness_weight(3) == 0.5
    expected_text, expected_head = 10 + (1 + 0.5 * 2) / 2, 10 + (1 + 0.5 * 2 + 4) / 3
    torch.testing.assert_close(fresh, torch.tensor([expected_text] * 2 + [expected_head] * 3))


def test_the_order_of_arrival_changes_no_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    some = [BufferedUpdate(k, k, k % 3, torch.randn(5, generator=generator), {"": 3}, 1.0) for k in range(7)]
    results = {empty_buffer(LAYOUT, torch.zeros(5), order, 3).numpy().tobytes() for order in (some, some[::-1])}
    assert len(results) == 1


@given(st.integers(0, 200), st.integers(1, 6), st.integers(1, 4), st.floats(0, 0.6))
def test_a_schedule_is_in_order_within_its_bounds_and_goes_on_from_where_it_was_written_down(
    seed: int, concurrency: int, buffer: int, dropout: float
) -> None:
    schedule = Schedule(DrawnPace(seed=seed, dropout=dropout), concurrency, 20.0, seed)
    copy: Schedule | None = None
    before = 0.0
    for version in range(6):
        trained: list[int] = []
        for _ in range(buffer):
            schedule.fill(version)
            if copy is not None:
                copy.fill(version)
            away = [flight.client for flight in schedule.flights]
            assert len(away) == len(set(away)) <= concurrency
            try:
                flight = schedule.land()
            except TrainingError:
                break
            assert flight.ends_s >= before
            assert flight.version <= version
            before = flight.ends_s
            if flight.version == version and flight.arrives:
                trained.append(flight.client)
            if copy is not None:
                assert copy.land() == flight
        # The same client from the same version would give the same update twice.
        assert len(trained) == len(set(trained))
        if version == 2:
            copy = Schedule(DrawnPace(seed=seed, dropout=dropout), concurrency, 20.0, seed)
            copy.restore(schedule.to_dict())


@pytest.mark.slow
def test_an_asynchronous_run_learns_from_updates_of_any_age(cohort: Path, buffered: ConfigOf) -> None:
    config = buffered(rounds=12, optimizer="adamw", lr=5e-3, deadline_s=4.0)
    folder = run(config, cohort, pace=DrawnPace(dropout=0.3))
    lines = folder.metrics()
    assert folder.summary()["test"]["uar"] > 0.6
    assert [line["clients"] for line in lines] == [3] * 12
    assert sum(line["failures"] for line in lines) > 0
    ends = [line["simulated"]["ends_s"] for line in lines]
    assert ends == sorted(ends)
    assert max(line["simulated"]["staleness"] for line in lines) > 0


@pytest.mark.slow
def test_each_update_starts_from_the_version_that_its_client_was_given(cohort: Path, buffered: ConfigOf) -> None:
    sent: dict[tuple[int, int], bytes] = {}

    class Watched(InProcessGrid):
        def _answer(self, message: Message) -> Message:
            if message.metadata.message_type == "train":
                number = int(message.content.config_records["config"]["server-round"])
                arrays = message.content.array_records[ARRAYS]
                client = self.nodes[message.metadata.dst_node_id]
                assert (number, client) not in sent
                sent[number, client] = b"".join(arrays[name].numpy().tobytes() for name in sorted(arrays))
            return super()._answer(message)

    folder = run(buffered(), cohort, Watched(CLIENTS), DrawnPace())
    committed = {n + 1: b"".join(arrays[name] for name in sorted(arrays)) for n, arrays in arrays_of(folder).items()}
    numbers = {number for number, _ in sent}
    assert len(numbers) > 3
    for (number, _), arrays in sent.items():
        if number > 1:
            assert arrays == committed[number]


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["all", "last"])
def test_a_run_stopped_anywhere_goes_on_to_the_same_arrays(cohort: Path, buffered: ConfigOf, keep: str) -> None:
    whole = run(buffered(name="whole"), cohort, pace=DrawnPace())
    trained = 0

    def stop(partition: int, message: Message) -> None:
        nonlocal trained
        trained += 1
        if trained in (2, 5, 11, 12, 16):
            raise KeyboardInterrupt

    config = buffered(name="parts", keep_checkpoints=keep)
    stops, begun = 0, False
    while True:
        try:
            parts = run(config, cohort, InProcessGrid(CLIENTS, fault=stop), DrawnPace(), resume=begun)
            break
        except KeyboardInterrupt:
            stops += 1
            begun = (config.output.out / "parts").is_dir()
    assert stops == 5
    ours, theirs = arrays_of(parts), arrays_of(whole)
    assert ours[6] == theirs[6]
    assert ours.items() <= theirs.items()
    for one, other in zip(parts.metrics(), whole.metrics(), strict=True):
        assert one["simulated"] == other["simulated"]
        assert one["dev"] == other["dev"]


def test_without_a_trace_replies_count_as_they_come(cohort: Path, buffered: ConfigOf) -> None:
    grid = InProcessGrid(CLIENTS)
    folder = run(buffered(rounds=4), cohort, grid)
    assert [line["clients"] for line in folder.metrics()] == [3] * 4
    assert all(line["simulated"] is None for line in folder.metrics())
    config = buffered(rounds=5)
    run_federation(InProcessGrid(CLIENTS), config, cohort, RunFolder.open(folder.path), resume=True)
    assert [line["round"] for line in folder.metrics()] == [1, 2, 3, 4, 5]
    assert math.isfinite(folder.metrics()[-1]["train_loss"])


@pytest.mark.slow
def test_a_client_that_fails_takes_no_place_in_the_buffer(cohort: Path, buffered: ConfigOf) -> None:
    def fail(partition: int, message: Message) -> None:
        if partition in (1, 2):
            raise RuntimeError("out of battery")

    folder = run(buffered(max_failed_share=1.0), cohort, InProcessGrid(CLIENTS, fault=fail), DrawnPace(dropout=0.0))
    assert [line["clients"] for line in folder.metrics()] == [3] * 6
    assert any("out of battery" in (line["first_failure"] or "") for line in folder.metrics())

    def all_fail(partition: int, message: Message) -> None:
        raise RuntimeError("out of battery")

    with pytest.raises(TrainingError, match=r"no update could be used.*out of battery|nobody is under way"):
        run(buffered(name="none"), cohort, InProcessGrid(CLIENTS, fault=all_fail), DrawnPace())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": "fedadam"}, "--strategy fedadam needs rounds"),
        ({"strategy": "krum"}, "--strategy krum needs rounds"),
        ({"strategy": "scaffold"}, "--strategy scaffold needs rounds"),
        ({"keep_optimizer": True}, "--keep-optimizer needs rounds"),
        ({"secagg": True}, "needs rounds|--secagg"),
        ({"over_selection": 1.3}, "--over-selection needs rounds"),
        ({"buffer_size": 0}, "--buffer-size must be 1 or more"),
        ({"concurrency": 0}, "--concurrency must be 1 or more"),
    ],
)
def test_what_needs_rounds_is_refused(cohort: Path, buffered: ConfigOf, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(buffered(**settings), cohort, pace=DrawnPace())


def test_arrivals_hold_what_clients_said(cohort: Path, buffered: ConfigOf) -> None:
    """One version of all clients that start at once is their plain mean."""
    config = buffered(rounds=1, buffer_size=CLIENTS, concurrency=CLIENTS)
    grid = InProcessGrid(CLIENTS)
    folder = run(config, cohort, grid, DrawnPace(dropout=0.0))
    from fedaffect.client.app import app

    replies = [
        app(m, Context(1, 1, {"partition-id": grid.nodes[m.metadata.dst_node_id]}, type(m.content)(), {}))
        for m in grid.pushed
        if m.metadata.message_type == "train"
    ]
    assert len(replies) == CLIENTS
    assert all(METRICS in reply.content for reply in replies)
    heads = [reply.content.array_records[ARRAYS]["head.bias"].numpy() for reply in replies]
    np.testing.assert_allclose(folder.checkpoints.load(1).arrays["head.bias"], np.mean(heads, axis=0), atol=1e-6)
