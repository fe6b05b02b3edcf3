"""Regions of a fleet: the arrays of flat aggregation, what registries say, and what happens where one is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ConfigRecord, Context, Message, MessageType, RecordDict
from tests.support.fleet_regions import NAMES, Region, Root, half
from tests.support.fleet_runs import CLIENTS, ConfigOf, simulated

from fedaffect.client.wire import CONFIG, RUN
from fedaffect.edge.errors import ConfigError, TrainingError
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.fleet.errors import RegionError
from fedaffect.server.fleet.regions.node import region_run_id
from fedaffect.server.fleet.runs.submission import checked_settings
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.registry import Registry, audit, participations, runs


@pytest.fixture
def root(tmp_path: Path, fleet_folder: FleetFolder, registry: Registry, cohort_folder: Path) -> Iterator[Root]:
    made = Root(tmp_path / "fleets", fleet_folder, registry, cohort_folder)
    yield made
    made.end()
    for region in made.regions:
        region.registry.close()


def same_arrays(found: RunFolder, flat: RunFolder, number: int) -> bool:
    one, other = (folder.checkpoints.load(number).arrays for folder in (found, flat))
    return {n: a.tobytes() for n, a in one.items()} == {n: a.tobytes() for n, a in other.items()}


def test_regions_give_the_arrays_of_the_simulation(root: Root, config_of: ConfigOf, cohort_folder: Path) -> None:
    # So few a round that a region is left out of one.
    settings: dict[str, Any] = {"clients_per_round": 2}
    found, flat = root.run(config_of(**settings)), simulated(config_of(**settings), cohort_folder)
    assert all(same_arrays(found, flat, number) for number in range(1, 5))
    root.end()
    asked = {
        n: {name for name, (state, _) in root.who(found.path.name, n).items() if state == "answered"}
        for n in range(1, 5)
    }
    assert set.union(*asked.values()) == {"north", "south"}
    assert any(len(names) == 1 for names in asked.values())
    for region in root.regions:
        parts = region.rounds(found.path.name)
        assert [(number, state) for number, _, state in parts] == [
            (number, "committed") for number, names in asked.items() if region.name in names
        ]
        run = runs.every(region.registry)[0]
        assert (run.id, run.state) == (f"root-{found.path.name}", "finished")
        states = {p.state for n, _, _ in parts for p in participations.of_round(region.registry, run.id, n)}
        assert states == {"answered"}
        audit.verify(region.registry)
        assert len(list(audit.entries(region.registry, action="order.answered"))) == len(parts)
    audit.verify(root.registry)


def test_secure_sums_stay_within_a_region(root: Root, config_of: ConfigOf, cohort_folder: Path) -> None:
    settings: dict[str, Any] = {"clients_per_round": CLIENTS, "rounds": 2, "secagg": True}
    found, flat = root.run(config_of(**settings)), simulated(config_of(**settings), cohort_folder)
    assert all(same_arrays(found, flat, number) for number in (1, 2))
    assert [line["clients"] for line in found.metrics()] == [CLIENTS, CLIENTS]


def test_a_lost_region_is_named_and_the_share_decides(root: Root, config_of: ConfigOf) -> None:
    root.grid.lost = {1: "its machine is on fire"}
    found = root.run(config_of(clients_per_round=CLIENTS, rounds=1))
    (line,) = found.metrics()
    assert (line["clients"], line["failures"]) == (CLIENTS // 2, CLIENTS // 2)
    assert line["first_failure"].endswith("region south: its machine is on fire")
    said = root.who(found.path.name, 1)
    assert said["north"] == ("answered", "")
    assert said["south"][0] == "failed"
    assert "its machine is on fire" in said["south"][1]
    with pytest.raises(TrainingError, match=r"3 of 6 clients failed in round 1.*region south"):
        root.run(config_of(name="strict", clients_per_round=CLIENTS, rounds=1, max_failed_share=0.4))


def test_no_sum_over_fewer_devices_than_the_region_allows_goes_up(
    tmp_path: Path, fleet_folder: FleetFolder, registry: Registry, cohort_folder: Path, config_of: ConfigOf
) -> None:
    assert FleetSettings().least_devices == 2
    regions = [Region(tmp_path / "fleets", n, half(k), least_devices=2 + k) for k, n in enumerate(NAMES)]
    root = Root(tmp_path / "fleets", fleet_folder, registry, cohort_folder, regions)
    # One of south's three devices fails, so that two are left.
    regions[1].grid.change = lambda partition, message, reply: None if partition == CLIENTS - 1 else reply
    found = root.run(config_of(clients_per_round=CLIENTS, rounds=1, round_timeout_s=2.0))
    (line,) = found.metrics()
    assert (line["clients"], line["failures"]) == (CLIENTS // 2, CLIENTS // 2)
    why = "a sum over 2 of this region's devices does not leave it: it needs 3 (least-devices in its fleet.toml)"
    assert why in root.who(found.path.name, 1)["south"][1]
    # One device asked, in whichever region: nobody trains for nothing.
    with pytest.raises(TrainingError, match="a sum over 1 of this region's devices does not leave it"):
        root.run(config_of(name="single", clients_per_round=1, rounds=1))
    root.end()
    parts = {region.name: region.rounds(found.path.name) for region in regions}
    assert [state for _, _, state in parts["north"]] == ["committed"]
    assert [state for _, _, state in parts["south"]] == ["abandoned"]
    assert not any(region.rounds("single") for region in regions)
    for region in regions:
        region.registry.close()


def test_a_device_that_fails_is_named_by_its_region(root: Root, config_of: ConfigOf) -> None:
    root.regions[0].grid.change = lambda partition, message, reply: None if partition == 1 else reply
    found = root.run(config_of(clients_per_round=CLIENTS, rounds=1, round_timeout_s=2.0))
    (line,) = found.metrics()
    assert (line["clients"], line["failures"]) == (CLIENTS - 1, 1)
    assert "no reply within 2 s" in root.who(found.path.name, 1)["north"][1]


def test_a_repeated_round_is_another_attempt_of_the_region(
    root: Root, config_of: ConfigOf, cohort_folder: Path
) -> None:
    config = config_of(clients_per_round=CLIENTS, rounds=2, max_failed_share=0.4)
    root.grid.lost = {1: "away"}
    with pytest.raises(TrainingError):
        root.run(config)
    root.grid.lost = {}
    (run,) = runs.every(root.registry)
    root.resume(run.id, run.config)
    found = RunFolder.open(root.fleet.runs / run.id)
    flat = simulated(config, cohort_folder)
    assert all(same_arrays(found, flat, number) for number in (1, 2))
    root.end()
    assert root.regions[0].rounds(run.id) == [(1, 1, "abandoned"), (1, 2, "committed"), (2, 1, "committed")]
    assert root.regions[1].rounds(run.id) == [(1, 1, "committed"), (2, 1, "committed")]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"strategy": "krum"}, "krum compares single updates"),
        ({"over-selection": 1.5}, "over-selection takes the first"),
        ({"evaluate": "clients"}, "no figures of devices"),
        ({"rollout": 10.0}, "a bundle goes to devices by their own region"),
        ({"regions": 2}, "a fleet's regions are those that joined it"),
        ({"mode": "async"}, "a fleet has no mode async"),
    ],
)
def test_what_regions_of_a_fleet_do_not_do_is_refused(
    given: dict[str, Any], why: str, config_of: ConfigOf, tmp_path: Path, cohort_folder: Path
) -> None:
    usual = {k: v for k, v in config_of().to_dict().items() if k not in ("engine", "out", "actors")}
    with pytest.raises(ConfigError, match=why):
        checked_settings({**usual, "cohort-folder": str(cohort_folder), "by-region": True, **given}, tmp_path)


def test_a_region_that_lists_a_partition_of_another_is_left_out(
    root: Root, config_of: ConfigOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.support.fleet_regions import enrol

    north = root.regions[0]
    other = next(node for node, k in root.regions[1].grid.nodes.items() if k == 5)
    enrol(north.registry, tmp_path, "d5-again", other, partition=5)
    north.grid.nodes[other] = 5
    found = root.run(config_of(clients_per_round=CLIENTS, rounds=1))
    (line,) = found.metrics()
    assert (line["clients"], line["failures"]) == (CLIENTS // 2 + 1, 0)
    assert set(root.who(found.path.name, 1)) == {"north"}
    assert "region south is left out: it lists partition 5, which region north has" in caplog.text


def test_a_region_that_lists_a_partition_of_none_is_left_out(
    root: Root, config_of: ConfigOf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.support.fleet_regions import enrol

    enrol(root.regions[1].registry, tmp_path, "d99", 99, partition=CLIENTS)
    root.regions[1].grid.nodes[99] = CLIENTS
    found = root.run(config_of(clients_per_round=CLIENTS, rounds=1))
    assert set(root.who(found.path.name, 1)) == {"north"}
    assert f"region south is left out: it lists a device {CLIENTS}, and numbers are below {CLIENTS}" in caplog.text


def ask(region: Region, root_run: str, **about: Any) -> Message:
    """What a region's node answers to a root that asks who is there."""
    said = ConfigRecord({"rounds": 1, "gather-s": 0.1, "own": False, "within-s": 5.0, **about})
    content = RecordDict({CONFIG: ConfigRecord({RUN: root_run}), "region": said})
    message = Message(content, 1, MessageType.QUERY)
    return region.answers(message, Context(0, 1, {}, RecordDict(), {}))


@pytest.mark.parametrize("root_run", ["/../../../victim", "..", "a/b", "", "x" * 60])
def test_a_root_names_no_folder_of_its_region(root: Root, root_run: str) -> None:
    region = root.regions[0]
    before = sorted(region.folder.path.parent.rglob("*"))
    assert "another --name" in ask(region, root_run).error.reason
    with pytest.raises(RegionError, match="another --name"):
        region_run_id(root_run)
    assert sorted(region.folder.path.parent.rglob("*")) == before
    with pytest.raises(ConfigError, match="a run wants an id"):
        runs.create(region.registry, run_id="root-/../victim", config={})
