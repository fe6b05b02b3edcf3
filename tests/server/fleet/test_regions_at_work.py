"""A root and two regions, each with two devices: real processes over TLS."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.support.constructed_cohort import constructed_cohort
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_fleet import SmallFleet
from tests.support.whole_systems import takes_minutes

from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, devices, participations, rounds

pytestmark = takes_minutes
REGIONS = ("north", "south")
CLIENTS = 4
SETTINGS = {
    "model_options": {"width": 16, "heads": 2, "feedforward": 32},
    "lr": 0.05,
    "clients_per_round": CLIENTS,
    "round_timeout_s": 300.0,
}


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SmallFleet]]:
    folder = tmp_path_factory.mktemp("regions")
    cohort = constructed_cohort(
        folder / "cohort", clients=CLIENTS, examples=(8, 12), tokens={"text": 2, "audio": 2}, width=12
    )
    with ExitStack() as stack:
        root = stack.enter_context(SmallFleet(folder / "root", cohort))
        made = {"root": root}
        for place, name in enumerate(REGIONS):
            region = made[name] = stack.enter_context(SmallFleet(folder / name, cohort, root=root))
            for k in (2 * place, 2 * place + 1):
                region.enroll(f"d{k}", k)
                region.start(f"d{k}")
        for name in REGIONS:
            made[name].online(2)
        root.online(2)
        yield made


def arrays(folder: Path, number: int) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in RunFolder.open(folder).checkpoints.load(number).arrays.items()}


def simulated(fleet: SmallFleet, tmp_path: Path, rounds_: int, **settings: object) -> RunFolder:
    config = RunSettings.of(
        dataset="synthetic", rounds=rounds_, out=tmp_path, name="beside", **{**SETTINGS, **settings}
    )  # type: ignore[arg-type]
    folder = RunFolder.create(config)
    run_federation(InProcessGrid(CLIENTS), config, fleet.cohort, folder)
    return folder


def figures(fleet: SmallFleet) -> list[str]:
    """The lines of a fleet's /metrics."""
    folder = FleetFolder.open(fleet.path)
    found = httpx.get(
        f"{folder.service}/metrics",
        headers={"authorization": f"Bearer {folder.operator_token()}"},
        verify=ssl.create_default_context(cafile=str(folder.authority.certificate_path)),
    )
    return found.raise_for_status().text.splitlines()


def test_regions_of_a_fleet_give_the_arrays_of_a_flat_simulation(fleets: dict[str, SmallFleet], tmp_path: Path) -> None:
    root = fleets["root"]
    root.submit("plain", 2, min_devices=CLIENTS, **SETTINGS)
    lines = root.wait("plain")
    assert [(line["clients"], line["failures"]) for line in lines] == [(CLIENTS, 0), (CLIENTS, 0)]
    flat, of_two = simulated(root, tmp_path / "flat", 2), simulated(root, tmp_path / "two", 2, regions=2)
    for number in (1, 2):
        found = arrays(root.path / "runs" / "plain", number)
        assert found == arrays(flat.path, number) == arrays(of_two.path, number)
    with Registry.open(FleetFolder.open(root.path).settings.registry) as registry:
        names = {device.id: device.name for device in devices.every(registry)}
        took_part = [(names[p.slot.device_id], p.state) for p in participations.of_round(registry, "plain", 2)]
    assert sorted(took_part) == [("north", "answered"), ("south", "answered")]
    for name in REGIONS:
        region = fleets[name]
        region.wait("root-plain")
        with Registry.open(FleetFolder.open(region.path).settings.registry) as registry:
            parts = rounds.of_run(registry, "root-plain")
            states = [p.state for p in participations.of_round(registry, "root-plain", 1)]
        assert [(part.round, part.state) for part in parts] == [(1, "committed"), (2, "committed")]
        assert states == ["answered", "answered"]
    shown = json.loads(root.command("fleet", "status", "--fleet", str(root.path), "--json").stdout)
    assert [(d["name"], d["region"]["devices"]) for d in shown["devices"]] == [("north", 2), ("south", 2)]
    said = json.loads(fleets["north"].command("fleet", "status", "--fleet", str(fleets["north"].path), "--json").stdout)
    assert said["region"]["state"] == "is connected"
    assert said["region"]["failed"] == 0
    assert {
        'fedaffect_fleet_orders_total{outcome="summed"} 2.0',
        'fedaffect_fleet_order_devices_total{outcome="summed"} 4.0',
        "fedaffect_fleet_order_seconds_count 2.0",
    } <= set(figures(fleets["north"]))
    assert 'fedaffect_fleet_region_devices{region="south",state="enrolled"} 2.0' in figures(root)
