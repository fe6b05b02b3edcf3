"""A region's orders: which are carried out, what stays of them, and what ends its parts of runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from tests.support.fleet_regions import Region
from tests.support.fleet_runs import CLIENTS, FleetGrid

from fedaffect.client.device.errors import DeviceRevokedError, ServiceAway
from fedaffect.client.wire import CONFIG, RUN
from fedaffect.server.fleet.errors import RegionError
from fedaffect.server.fleet.regions import joining
from fedaffect.server.fleet.regions.carrying import RegionAtWork
from fedaffect.server.fleet.regions.node import RegionAnswers, Reports
from fedaffect.server.fleet.regions.orders import Orders
from fedaffect.server.fleet.runs.lease_holder import held_lease
from fedaffect.server.fleet.setup import folder_backup
from fedaffect.server.registry import rounds, runs

ORDER = RecordDict({"region": ConfigRecord({"round": 1})})
SETTINGS = {"region-run": "learn", "rounds": 1, "gather-s": 0.0, "own": False}


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders.of(tmp_path, "root-learn")


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    made = Region(tmp_path, "north", FleetGrid(CLIENTS))
    yield made
    made.registry.close()


def left(orders: Orders) -> list[str]:
    return sorted(path.suffix for path in orders.folder.iterdir())


def test_an_order_whose_time_is_over_is_not_carried_out(orders: Orders) -> None:
    with pytest.raises(RegionError, match="after its time was over"):
        orders.ask(ORDER, time.time() - 5)
    assert left(orders) == []


def test_an_order_that_waited_elsewhere_gets_no_time_of_its_own(region: Region) -> None:
    about = ConfigRecord({"rounds": 1, "gather-s": 0.0, "own": False, "within-s": 30.0})
    content = RecordDict({CONFIG: ConfigRecord({RUN: "learn"}), "region": about})
    message = Message(content, 1, MessageType.QUERY)
    message.metadata.created_at = time.time() - 60
    reply = region.answers(message, Context(0, 1, {}, RecordDict(), {}))
    assert "after its time was over" in reply.error.reason


def test_orders_of_nodes_that_ended_are_removed(orders: Orders, tmp_path: Path) -> None:
    path = orders.put(ORDER, time.time() + 0.2)
    assert Orders.answer(path, ORDER)
    assert left(orders) == [".answer", ".order"]
    while time.time() < int(path.stem.rpartition("-")[2]) / 1e3 + 0.001:
        time.sleep(0.01)
    assert orders.next() is None
    assert left(orders) == []
    orders.put(ORDER, time.time() + 1_000)
    Orders.forget_all(tmp_path)
    assert left(orders) == []


def test_an_answer_that_nobody_waits_for_is_not_one(orders: Orders) -> None:
    path = orders.put(ORDER, time.time() + 1_000)
    path.unlink()
    assert not Orders.answer(path, ORDER)
    assert left(orders) == []


def test_a_part_that_the_root_did_not_get_is_not_committed(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(path: Path, content: RecordDict) -> bool:
        path.unlink()
        return answer(path, content)

    def sum_of(self: RegionAtWork, content: RecordDict) -> RecordDict:
        self._members.gather()
        self._ledger.begin(1, [0], torch.zeros(1))
        self._ledger.passed_up(1, content)
        return content

    answer = Orders.answer
    monkeypatch.setattr(Orders, "answer", staticmethod(too_late))
    monkeypatch.setattr(RegionAtWork, "_sum", sum_of)
    runs.create(region.registry, run_id="root-learn", config=SETTINGS)
    orders = Orders.of(region.folder.path, "root-learn")
    orders.put(ORDER, time.time() + 1_000)
    orders.close({"state": "finished", "committed": 1})
    with held_lease(region.registry, "root-learn") as lease:
        RegionAtWork(region.grid, region.registry, lease, region.folder, SETTINGS).carry()
    assert [each.state for each in rounds.of_run(region.registry, "root-learn")] == ["abandoned"]
    # The run is over, and so are its orders.
    assert not orders.folder.exists()


def test_a_malformed_order_is_answered(region: Region) -> None:
    runs.create(region.registry, run_id="root-learn", config=SETTINGS)
    with held_lease(region.registry, "root-learn") as lease:
        at_work = RegionAtWork(region.grid, region.registry, lease, region.folder, SETTINGS)
        answer = at_work._answer(ORDER)
    assert "the order is malformed (KeyError" in str(answer.config_records["region"]["error"])


def test_a_region_that_is_revoked_or_leaves_closes_the_roots_runs(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoked() -> None:
        raise DeviceRevokedError("the fleet has revoked this device")

    for name, config in (("own", {}), ("root-a", SETTINGS)):
        runs.create(region.registry, run_id=name, config=config)
    reports = Reports(region.folder, region.registry, RegionAnswers(region.folder, region.registry))
    monkeypatch.setattr(reports, "report", revoked)
    assert reports.state().startswith("is refused")
    runs.create(region.registry, run_id="root-b", config=SETTINGS)
    monkeypatch.setattr(joining, "leave", lambda *args, **named: None)
    monkeypatch.setattr(joining.DeviceFolder, "settings", property(lambda self: None))
    joining.leave_root(region.folder, region.registry)
    states = {run.id: (run.state, run.reason) for run in runs.every(region.registry)}
    assert states["own"][0] == "open"
    assert states["root-a"] == ("cancelled", "the root has revoked this region")
    assert states["root-b"] == ("cancelled", "the region left its root")


@pytest.mark.parametrize(
    ("error", "says"),
    [(KeyError("runs"), "cannot read its root's answer"), (ServiceAway("away"), "cannot reach its root")],
)
def test_a_strange_answer_of_the_root_does_not_end_reports(
    region: Region, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    def report() -> Any:
        raise error

    reports = Reports(region.folder, region.registry, RegionAnswers(region.folder, region.registry))
    monkeypatch.setattr(reports, "report", report)
    assert says in reports.state()


def test_a_restored_region_has_its_key(region: Region, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    folder = joining.region_of(region.folder)
    folder.path.mkdir()
    folder.key_path.write_text("the key")
    folder_backup.make(region.folder, tmp_path / "backup")
    again = folder_backup.restore(tmp_path / "backup", tmp_path / "again")
    assert joining.region_of(again).key_path.read_text() == "the key"
