"""Two-level aggregation gives what flat aggregation gives, bit for bit, and passes nothing but sums up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, Message, MessageType, RecordDict
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.flower_compat.records import record_from_bytes, record_to_bytes
from fedaffect.client.wire import ARRAYS, CONTROL_SUMS, SUMS
from fedaffect.edge.errors import ConfigError, RunError, TrainingError
from fedaffect.server.federation.regions.local import LocalRegions
from fedaffect.server.federation.regions.order import REGION, Regions
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS = 6
ConfigOf = Callable[..., RunSettings]
# Of a round's line, all but its clock and its memory.
SAME = ("clients", "failures", "refusals", "rejected", "train_loss", "dev", "bytes_up", "bytes_down", "privacy")


def run(config: RunSettings, cohort: Path, grid: InProcessGrid | None = None) -> RunFolder:
    folder = RunFolder.create(config)
    run_federation(grid or InProcessGrid(CLIENTS), config, cohort, folder)
    return folder


def require_same(flat: RunFolder, regional: RunFolder) -> None:
    rounds = flat.checkpoints.rounds()
    assert rounds == regional.checkpoints.rounds()
    one, other = flat.checkpoints.load(rounds[-1]), regional.checkpoints.load(rounds[-1])
    for arrays, theirs in ((one.arrays, other.arrays), (one.state, other.state)):
        assert arrays.keys() == theirs.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    for line, line_of_regions in zip(flat.metrics(), regional.metrics(), strict=True):
        assert {key: line.get(key) for key in SAME} == {key: line_of_regions.get(key) for key in SAME}


@pytest.fixture
def passed_up(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What regions answer while a test runs; orders and answers travel as bytes, as over a socket."""
    answers: list[Message] = []
    stream = LocalRegions.stream

    def listening(self: LocalRegions, messages: Iterable[Message], **named: Any) -> Iterator[Message]:
        for message in messages:
            message.content = record_from_bytes(record_to_bytes(message.content))
            for reply in stream(self, [message], **named):
                reply.content = record_from_bytes(record_to_bytes(reply.content))
                answers.append(reply)
                yield reply

    monkeypatch.setattr(LocalRegions, "stream", listening)
    return answers


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "fedavg"},
        {"strategy": "fedadam", "compression": "int8"},
        {"strategy": "scaffold"},
        {"strategy": "fedper"},
        {"strategy": "fedprox", "norm_bound": 0.28},
        {"dp": "central", "epsilon": 8.0, "dp_noise": "seeded", "clipping": "adaptive"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_regions_give_the_arrays_of_flat_aggregation(
    cohort_folder: Path, config_of: ConfigOf, settings: dict[str, Any], passed_up: list[Message]
) -> None:
    settings = {"rounds": 2, "clients_per_round": 5, "max_failed_share": 1.0, **settings}
    flat = run(config_of(name="flat", **settings), cohort_folder)
    assert not passed_up
    regional = run(config_of(name="regional", regions=3, **settings), cohort_folder)
    assert len(passed_up) > 3
    require_same(flat, regional)


def test_a_region_passes_up_one_sum_and_no_single_update(
    cohort_folder: Path, config_of: ConfigOf, passed_up: list[Message]
) -> None:
    run(config_of(rounds=1, clients_per_round=6, regions=2, strategy="scaffold"), cohort_folder)
    assert len(passed_up) == 2
    for reply in passed_up:
        assert set(reply.content) == {SUMS, CONTROL_SUMS, REGION}
        for name in (SUMS, CONTROL_SUMS):
            # Of three clients, in whole numbers of 64 bits.
            assert int(reply.content[name]["count"].numpy()[0]) == 3
            assert reply.content[name]["total"].numpy().dtype == np.int64
        assert reply.content[REGION]["clients"] == 3


@pytest.mark.parametrize("extra", [ARRAYS, "updates"])
def test_the_root_takes_no_single_update_from_a_region(
    cohort_folder: Path, config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    stream = LocalRegions.stream

    def leaking(self: LocalRegions, messages: Iterable[Message], **named: Any) -> Iterator[Message]:
        for message, reply in zip(messages, stream(self, messages, **named), strict=True):
            reply.content[extra] = message.content[ARRAYS]
            yield reply

    monkeypatch.setattr(LocalRegions, "stream", leaking)
    with pytest.raises(TrainingError, match="region 1: a region passes up sums alone"):
        run(config_of(rounds=1, clients_per_round=6, regions=2), cohort_folder)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"clients": 2}, "its sum is over 2 of 3 clients"),
        ({"failures": [5], "failures-why": ["gone"]}, "others than those"),
        ({"failures": [0], "failures-why": ["gone"], "clients": 2}, "its sum others"),
        ({"loss": str(10**30)}, "training loss"),
        ({"within-clip": 7.0}, "counts"),
        ({"loss": "much"}, "malformed"),
        ({"examples": str(2**40)}, "examples, which no 3 clients have"),
        ({"examples": "-1", "loss": "0"}, "examples, which no 3 clients have"),
    ],
)
def test_a_sum_that_is_not_of_those_who_were_asked_is_not_counted(
    cohort_folder: Path, config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], why: str
) -> None:
    stream = LocalRegions.stream

    def lying(self: LocalRegions, *args: Any, **named: Any) -> Iterator[Message]:
        for reply in stream(self, *args, **named):
            if reply.metadata.src_node_id == 1:
                for key, value in change.items():
                    reply.content[REGION][key] = value
            yield reply

    monkeypatch.setattr(LocalRegions, "stream", lying)
    config = config_of(rounds=1, clients_per_round=6, regions=2, max_failed_share=0.5)
    (line,) = run(config, cohort_folder).metrics()
    assert (line["clients"], line["failures"]) == (3, 3)
    assert line["first_failure"].startswith("region 1: ")
    assert why in line["first_failure"]


def unsound(reply: Message, array: str, place: int, value: float) -> None:
    """Put another value into an array of a region's sum."""
    record = reply.content.array_records[SUMS]
    values = np.array(record[array].numpy())
    values[place] = value
    record[array] = Array(values)


@pytest.mark.parametrize(
    ("array", "value", "why"),
    [
        ("reach", float("nan"), "reaches to nan"),
        ("reach", float("inf"), "reaches to inf"),
        ("reach", -1.0, "reaches to -1"),
        # Room for the other region's clients too.
        ("reach", 2.0**30 * 0.9, "has room for"),
        ("reach", 0.0, "values beyond its reach"),
        ("weights", -5, "weights that no 3 clients have"),
        ("weights", 2**60, "weights that no 3 clients have"),
        ("weights", 1, "and its sum others"),
        ("total", 2**62, "values beyond its reach"),
        ("total", -(2**63), "values beyond its reach"),
    ],
)
def test_a_sum_that_cannot_be_one_loses_its_region_and_not_the_run(
    cohort_folder: Path, config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch, array: str, value: float, why: str
) -> None:
    stream = LocalRegions.stream

    def lying(self: LocalRegions, *args: Any, **named: Any) -> Iterator[Message]:
        for reply in stream(self, *args, **named):
            if reply.metadata.src_node_id == 1:
                unsound(reply, array, 0, value)
            yield reply

    monkeypatch.setattr(LocalRegions, "stream", lying)
    config = config_of(rounds=1, clients_per_round=6, regions=2, max_failed_share=0.5)
    (line,) = run(config, cohort_folder).metrics()
    assert (line["clients"], line["failures"]) == (3, 3)
    assert line["first_failure"].startswith("region 1: ")
    assert why in line["first_failure"]


def failing(*clients: int) -> InProcessGrid:
    def fault(partition: int, message: Message) -> None:
        if partition in clients:
            raise RuntimeError("out of battery")

    return InProcessGrid(CLIENTS, fault=fault)


def test_failures_in_one_region_are_those_of_flat_aggregation(cohort_folder: Path, config_of: ConfigOf) -> None:
    settings = {"rounds": 2, "clients_per_round": 6, "max_failed_share": 0.5}
    flat = run(config_of(name="flat", **settings), cohort_folder, failing(0, 1))
    regional = run(config_of(name="regional", regions=3, **settings), cohort_folder, failing(0, 1))
    require_same(flat, regional)
    assert regional.metrics()[0]["failures"] == 2
    assert regional.metrics()[0]["first_failure"] == flat.metrics()[0]["first_failure"] == "out of battery"


class Unreachable(InProcessGrid):
    """No message to some clients gets through at all."""

    def __init__(self, *clients: int) -> None:
        super().__init__(CLIENTS)
        self.gone = {node for node, client in self.nodes.items() if client in clients}

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        messages = list(messages)
        if any(m.metadata.message_type == MessageType.TRAIN and m.metadata.dst_node_id in self.gone for m in messages):
            raise RunError("the SuperLink does not answer")
        yield from super().stream(messages, timeout=timeout)


def test_a_region_that_is_lost_is_named_and_its_clients_have_failed(cohort_folder: Path, config_of: ConfigOf) -> None:
    settings = {"rounds": 2, "clients_per_round": 6, "regions": 3}
    regional = run(config_of(max_failed_share=0.5, name="lost", **settings), cohort_folder, Unreachable(2, 3))
    flat = run(
        config_of(name="flat", rounds=2, clients_per_round=6, max_failed_share=0.5), cohort_folder, failing(2, 3)
    )
    require_same(flat, regional)
    assert regional.metrics()[0]["first_failure"] == "region 2: the SuperLink does not answer"
    with pytest.raises(TrainingError, match=r"2 of 6 clients failed in round 1.*region 2: the SuperLink does not"):
        run(config_of(**settings), cohort_folder, Unreachable(2, 3))
    with pytest.raises(TrainingError, match=r"no client finished round 1.*region 1: the SuperLink does not answer"):
        run(config_of(max_failed_share=1.0, name="all", **settings), cohort_folder, Unreachable(*range(CLIENTS)))


def test_updates_beyond_the_norm_bound_are_rejected_in_their_region(cohort_folder: Path, config_of: ConfigOf) -> None:
    settings = {"rounds": 1, "clients_per_round": 6, "norm_bound": 0.28}
    flat = run(config_of(name="flat", **settings), cohort_folder)
    regional = run(config_of(name="regional", regions=2, **settings), cohort_folder)
    require_same(flat, regional)
    assert 0 < len(regional.metrics()[0]["rejected"]) < CLIENTS


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"strategy": "krum"}, "krum compares single updates, and --regions pass up sums"),
        ({"regions": 7}, "--regions 7 is more than the 6 clients"),
    ],
)
def test_what_regions_cannot_do_is_refused(
    cohort_folder: Path, config_of: ConfigOf, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        run(config_of(**{"regions": 2, **settings}), cohort_folder)


def test_settings_that_regions_contradict_are_refused(config_of: ConfigOf) -> None:
    for settings, why in (({"mode": "async"}, "--mode async has none"), ({"over_selection": 1.5}, "--over-selection")):
        with pytest.raises(ConfigError, match=why):
            config_of(regions=2, **settings)


@pytest.mark.parametrize(("clients", "count"), [(6, 2), (7, 3), (100, 7), (10, 10)])
def test_every_client_is_of_one_region(clients: int, count: int) -> None:
    regions = Regions(clients, count)
    assert [regions.of(c) for c in range(clients)] == [r for r in range(count) for _ in regions.members(r)]
    sizes = [len(regions.members(region)) for region in range(count)]
    assert sum(sizes) == clients
    assert max(sizes) - min(sizes) <= 1


def test_a_region_answers_for_its_own_clients_alone(cohort_folder: Path, config_of: ConfigOf) -> None:
    from fedaffect.server.federation.grid import Nodes
    from fedaffect.server.federation.regions.aggregator import RegionalAggregator
    from fedaffect.server.federation.regions.order import Order

    grid = InProcessGrid(CLIENTS)
    aggregator = RegionalAggregator(grid, Nodes.find(grid, CLIENTS), range(3))
    order = Order(round=1, clients=(2, 3), asked=2, timeout_s=1.0)
    with pytest.raises(ConfigError, match="client 3 is of another region"):
        aggregator.answer(RecordDict({REGION: order.to_record()}))
    with pytest.raises(ConfigError, match="lacks 'clients'; run the same version"):
        Order.from_record({"round": 1})
