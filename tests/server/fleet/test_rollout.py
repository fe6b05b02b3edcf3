"""A bundle on its way to devices: staged, fetched over TLS, swapped in, judged on the device's own examples."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.support.served import enrolled, served

from fedaffect.client.cli.device_status import status
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.service import FleetService
from fedaffect.client.device.spending import ledger_of
from fedaffect.client.device.updates import Updates, declined, judged, left_by_its_user
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.bundle import Bundle, BundleStore, SigningKey, sign
from fedaffect.edge.bundle.archive import pack
from fedaffect.edge.bundle.manifest import Manifest
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database, ExampleStore
from fedaffect.server.fleet.api.operator_client import Operator
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.registry import Registry, bundles, rollouts
from fedaffect.server.registry.folder_hash import file_sha256

Maker = Callable[..., Path]
EXAMPLES = 40


@dataclass
class Place:
    """A service at work, its operator, and one device."""

    registry: Registry
    operator: Operator
    device: DeviceFolder
    service: FleetService
    store: BundleStore
    folder: FleetFolder
    events: list[tuple[str, str]] = field(default_factory=list)

    def offer(self, bundle: Path) -> str:
        """Register a bundle; its version."""
        tar = pack(bundle, self.folder.path / f"{bundle.name}.tar")
        version = Bundle.load(bundle).version
        bundles.add(self.registry, version=version, path=tar, sha256=file_sha256(tar), size_bytes=tar.stat().st_size)
        return version

    def ask(self) -> None:
        """What the device does every half minute."""
        answer = self.service.post("/v1/device", {"consent": True})
        updates = Updates(self.device, self.store, lambda event, facts: self.events.append((event, facts["version"])))
        updates.follow(self.service, answer)

    def in_use(self) -> str | None:
        current = self.store.current()
        return current.version if current else None


@pytest.fixture
def a_bundle(make_bundle: Maker) -> Maker:
    def make(seed: int) -> Path:
        folder = make_bundle(seed=seed)
        sign(folder, SigningKey.own())
        return folder

    return make


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(Registry.open(folder.settings.registry))
        url = stack.enter_context(served(folder, registry))
        device = enrolled(registry, folder, tmp_path / "device", url)
        key = DeviceKey.read(device.key_path)
        authority = folder.authority.certificate_path
        service = stack.enter_context(FleetService(url, authority, key, device.settings.id))
        operator = stack.enter_context(Operator(url, folder.operator_token(), authority))
        yield Place(registry, operator, device, service, BundleStore(tmp_path / "installed"), folder)


def built(bundle: Path, day: str) -> Path:
    """The bundle, as if it had been built and signed that day."""
    replace(Manifest.read(bundle), created=f"{day}T00:00:00+00:00").write(bundle)
    sign(bundle, SigningKey.own())
    return bundle


def label_as(place: Place, bundle: Path) -> None:
    """Fill the device's store with examples whose labels are what a bundle answers, so that another is worse."""
    opened = Bundle.load(bundle)
    fusion, key = opened.fusion(), opened.encoder("text").key
    rng = np.random.default_rng(0)
    with Database(Path(place.device.settings.store)) as database:
        store = ExampleStore(database)
        for number in range(EXAMPLES):
            tokens = rng.normal(size=(3, fusion.widths["text"])).astype(np.float16)
            said = fusion.labels[int(fusion({"text": tokens.astype(np.float32)}).argmax())]
            answer = Prediction(said, {said: 1.0}, 1.0, "edge", ("text",), 1.0, "v", "confident")
            store.add(f"r{number}", {"text": tokens}, {"text": key}, answer)
            store.label(f"r{number}", said, consent=True)


def test_a_better_bundle_is_taken_up_and_a_worse_one_taken_back(place: Place, a_bundle: Maker) -> None:
    good, bad = a_bundle(seed=1), a_bundle(seed=2)
    label_as(place, good)
    first = place.offer(good)
    place.operator.post("/v1/rollouts", {"version": first, "percent": 100})
    place.ask()
    assert place.in_use() == first
    worse = place.offer(bad)
    # Its only device must be among the first half, which its id decides; all but one in a million are.
    place.operator.post("/v1/rollouts", {"version": worse, "percent": 99.9999, "min_examples": 10})
    place.ask()
    found = next(r for r in rollouts.every(place.registry) if r.bundle_version == worse)
    assert found.state == "rolled-back"
    assert found.change is not None
    assert found.change < -0.1
    assert found.examples == EXAMPLES
    assert place.in_use() == first
    place.ask()
    assert place.in_use() == first
    with pytest.raises(ConfigError, match="rolled back"):
        place.operator.post("/v1/rollouts", {"version": worse, "percent": 100})


def test_a_device_reports_with_noise_that_its_budget_pays_for(place: Place, a_bundle: Maker) -> None:
    good, bad = a_bundle(seed=1), a_bundle(seed=2)
    label_as(place, good)
    place.device.change(only_private=True, epsilon=1.0)
    place.operator.post("/v1/rollouts", {"version": place.offer(good), "percent": 100})
    place.ask()
    place.operator.post("/v1/rollouts", {"version": place.offer(bad), "percent": 99.9999})
    place.ask()
    (found,) = rollouts.every(place.registry)[:1]
    assert (found.reports, found.examples) == (1, EXAMPLES)
    (charge,) = ledger_of(place.device).charges()
    assert found.noise == pytest.approx(charge.spending.noise_multiplier / EXAMPLES)
    # What the service was told is the ledger's answer, to the bit: no figure of its own went beside it.
    stored = ledger_of(place.device).stored(charge.request)
    assert stored is not None
    assert found.change == pytest.approx(max(-1.0, min(1.0, int(stored) / EXAMPLES)))


def test_past_its_budget_a_device_reports_nothing(place: Place, a_bundle: Maker) -> None:
    good, bad = a_bundle(seed=1), a_bundle(seed=2)
    label_as(place, good)
    place.device.change(only_private=True, epsilon=0.1)
    place.operator.post("/v1/rollouts", {"version": place.offer(good), "percent": 100})
    place.ask()
    place.operator.post("/v1/rollouts", {"version": place.offer(bad), "percent": 99.9999})
    place.ask()
    newest: Any = rollouts.staged(place.registry)
    assert (newest.reports, newest.state) == (0, "staged")


def test_a_bundle_that_is_worse_for_its_user_stays_on_no_device_whatever_the_fleet_says(
    place: Place, a_bundle: Maker
) -> None:
    good, bad = a_bundle(seed=1), a_bundle(seed=2)
    label_as(place, good)
    # Its report goes under in noise, so that the fleet keeps the bundle.
    place.device.change(only_private=True)
    first = place.offer(good)
    place.operator.post("/v1/rollouts", {"version": first, "percent": 100})
    place.ask()
    worse = place.offer(bad)
    place.operator.post("/v1/rollouts", {"version": worse, "percent": 100, "min_examples": 1000})
    place.ask()
    assert place.in_use() == first
    found = judged(place.device)
    assert found is not None
    assert (found["version"], found["before"], found["examples"]) == (worse, EXAMPLES, EXAMPLES)
    said = CliRunner().invoke(status, ["--device", str(place.device.path)]).output
    assert place.events == [("bundle", first), ("bundle", worse), ("left", worse)]
    assert f"{worse} is worse: {found['after']} of {EXAMPLES} examples right, {EXAMPLES} before it" in said
    # It is not fetched again, and the next one is.
    fetched = len(list(place.store.folder.rglob("manifest.json")))
    place.ask()
    assert (place.in_use(), len(list(place.store.folder.rglob("manifest.json")))) == (first, fetched)
    next_one = place.offer(a_bundle(seed=3))
    assert declined(place.device) == [worse]
    place.operator.post("/v1/rollouts", {"version": next_one, "percent": 100})
    with Database(Path(place.device.settings.store)) as database:
        ExampleStore(database).forget(everything=True)
    place.ask()
    assert place.in_use() == next_one


def test_a_bundle_that_its_user_left_is_not_taken_up_again(place: Place, a_bundle: Maker) -> None:
    first, second, third = (place.offer(a_bundle(seed=seed)) for seed in (1, 2, 3))
    for version in (first, second):
        place.operator.post("/v1/rollouts", {"version": version, "percent": 100})
        place.ask()
    place.store.rollback()
    place.ask()
    assert (place.in_use(), left_by_its_user(place.device, place.store)) == (first, second)
    # It is theirs again when they say so, and the next one is taken whatever they left.
    place.store.rollback()
    assert left_by_its_user(place.device, place.store) is None
    place.store.rollback()
    place.operator.post("/v1/rollouts", {"version": third, "percent": 100})
    place.ask()
    assert place.in_use() == third


def test_a_staged_bundle_goes_to_a_part_of_devices_only(place: Place, a_bundle: Maker) -> None:
    version = place.offer(a_bundle(seed=3))
    place.operator.post("/v1/rollouts", {"version": version, "percent": 0.0001})
    place.ask()
    assert place.in_use() is None
    place.operator.post("/v1/rollouts", {"version": version, "percent": 100})
    place.ask()
    assert place.in_use() == version


def test_the_operator_takes_a_bundle_back_from_devices_that_have_it(place: Place, a_bundle: Maker) -> None:
    first, second = (place.offer(a_bundle(seed=seed)) for seed in (4, 5))
    place.operator.post("/v1/rollouts", {"version": first, "percent": 100})
    place.ask()
    place.operator.post("/v1/rollouts", {"version": second, "percent": 99.9999})
    place.ask()
    assert place.in_use() == second
    place.operator.post("/v1/rollouts", {"back": True})
    place.ask()
    assert place.in_use() == first


def test_an_older_bundle_is_taken_only_where_the_fleet_withdrew_the_one_in_use(place: Place, a_bundle: Maker) -> None:
    old, new = (place.offer(built(a_bundle(seed=seed), f"2026-01-0{seed}")) for seed in (4, 5))
    place.operator.post("/v1/rollouts", {"version": new, "percent": 100})
    place.ask()
    # Its signature is true, and so it would do again for whoever sends it.
    place.operator.post("/v1/rollouts", {"version": old, "percent": 100})
    with pytest.raises(BundleError, match="before the one in use"):
        place.ask()
    assert place.in_use() == new
    bundles.offer(place.registry, new, offered=False)
    place.ask()
    assert place.in_use() == old


def test_where_there_is_nothing_to_go_back_to_the_offered_bundle_is_taken(place: Place, a_bundle: Maker) -> None:
    old, bad = (place.offer(built(a_bundle(seed=seed), f"2026-01-0{seed}")) for seed in (4, 5))
    place.operator.post("/v1/rollouts", {"version": old, "percent": 100})
    place.operator.post("/v1/rollouts", {"version": bad, "percent": 99.9999})
    place.ask()
    assert place.in_use() == bad
    place.operator.post("/v1/rollouts", {"back": True})
    place.ask()
    assert place.in_use() == old
    place.ask()
    assert place.in_use() == old


def test_a_bundle_that_a_stranger_signed_is_not_installed(place: Place, a_bundle: Maker, tmp_path: Path) -> None:
    bundle = shutil.copytree(a_bundle(seed=6), tmp_path / "forged")
    version = Bundle.load(bundle).version
    sign(bundle, SigningKey.generate())
    tar = pack(bundle, place.folder.path / "forged.tar")
    bundles.add(place.registry, version=version, path=tar, sha256=file_sha256(tar), size_bytes=tar.stat().st_size)
    place.operator.post("/v1/rollouts", {"version": version, "percent": 100})
    with pytest.raises(BundleError):
        place.ask()
    assert place.in_use() is None
    assert not list((place.device.path / "run").glob("*.tar"))


def test_without_consent_the_device_reports_nothing_about_its_examples(place: Place, a_bundle: Maker) -> None:
    good, bad = a_bundle(seed=1), a_bundle(seed=2)
    label_as(place, good)
    place.operator.post("/v1/rollouts", {"version": place.offer(good), "percent": 100})
    place.ask()
    place.device.change(consent=False)
    place.operator.post("/v1/rollouts", {"version": place.offer(bad), "percent": 99.9999})
    place.ask()
    newest: Any = rollouts.staged(place.registry)
    assert (newest.reports, newest.state) == (0, "staged")
