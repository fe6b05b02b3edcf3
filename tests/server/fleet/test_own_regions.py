"""Devices of two regions learn from their own examples, in one run of the root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.fleet_regions import NAMES, Region, Root
from tests.support.learning_bundle import learning_bundle
from tests.support.own_devices import DEVICES, EXAMPLES, OwnDevices

from fedaffect.client.cohort import Cohort
from fedaffect.client.device.permission import LearningRules
from fedaffect.edge.bundle import Bundle, BundleStore
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import from_flwr
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.messages import RunSubmission
from fedaffect.server.fleet.runs.own_examples import own_cohort
from fedaffect.server.fleet.runs.submission import of_fleet
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, devices, models, runs


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    store = BundleStore(tmp_path / "installed")
    monkeypatch.setattr(BundleStore, "default", classmethod(lambda cls, profile="edge": store))
    return store.install(learning_bundle(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def root(tmp_path: Path, fleet_folder: FleetFolder, registry: Registry, bundle: Bundle) -> Iterator[Root]:
    regions = [Region(tmp_path / "fleets", n, OwnDevices(tmp_path / f"of-{n}", bundle), own=True) for n in NAMES]
    made = Root(tmp_path / "fleets", fleet_folder, registry, tmp_path, regions)
    yield made
    made.end()
    for region in regions:
        region.registry.close()


def test_devices_of_regions_learn_from_their_own_examples(root: Root, fleet_folder: FleetFolder) -> None:
    north, south = (region.grid for region in root.regions)
    assert isinstance(north, OwnDevices)
    assert isinstance(south, OwnDevices)
    south.devices[1].change(rules=LearningRules(min_examples=EXAMPLES + 1))
    for region in root.regions:
        number = devices.get(root.registry, region.name).id
        devices.report_region(root.registry, number, {"devices": DEVICES, "online": DEVICES, "numbers": DEVICES})
    aggregator = Aggregator(fleet_folder, root.registry, None)  # type: ignore[arg-type]
    given = {"rounds": 2, "dp": "none", "gather-s": 0.1, "lr": 0.01}
    run = str(aggregator.start_run(RunSubmission(settings=given))["run"])
    config = runs.get(root.registry, run).config
    assert (config["by-region"], config["rollout"]) == (True, 0.0)
    root.resume(run, config)
    assert north.trained() == {0, 1, 2}
    # It said that it has too few examples.
    assert south.trained() == {0, 2}
    folder = RunFolder.open(fleet_folder.runs / run)
    assert [line["clients"] for line in folder.metrics()] == [2 * DEVICES - 1] * 2
    assert len(models.every(root.registry)) == 1
    assert set(root.who(run, 2)) == set(NAMES)


def test_a_run_asks_regions_or_devices(root: Root, fleet_folder: FleetFolder, tmp_path: Path) -> None:
    from tests.support.fleet_regions import enrol

    enrol(root.registry, tmp_path, "phone", 77)
    aggregator = Aggregator(fleet_folder, root.registry, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="device 'phone' is in none; enrol it with one, or give a group"):
        aggregator.start_run(RunSubmission(settings={"rounds": 1, "dp": "none"}))


def test_what_a_region_says_of_its_numbers_allocates_little(
    root: Root, fleet_folder: FleetFolder, bundle: Bundle
) -> None:
    north = devices.get(root.registry, "north")
    devices.report_region(root.registry, north.id, {"devices": DEVICES, "online": DEVICES, "numbers": 2**30 - 1})
    aggregator = Aggregator(fleet_folder, root.registry, None)  # type: ignore[arg-type]
    run = str(aggregator.start_run(RunSubmission(settings={"rounds": 1, "dp": "none"}))["run"])
    config = from_flwr({"engine": "flower", **of_fleet(runs.get(root.registry, run).config)[1]})
    cohort = Cohort.load(own_cohort(fleet_folder, root.registry, config))
    assert DEVICES * len(NAMES) <= cohort.num_clients < 10_000
    assert tuple(cohort.client_names[: 2 * DEVICES : 2]) == tuple(f"north/{number}" for number in range(DEVICES))
