"""Enrolment of many devices, by keys with and without approval, and runs of a part of them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.support.fleet_runs import Fleet, FleetGrid
from tests.support.served import served

from fedaffect.client.cli.device import device as device_command
from fedaffect.client.device.enrolling import Capabilities, enroll, leave
from fedaffect.client.device.errors import DeviceRefusedError, DeviceWaitingError
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.permission import LearningRules
from fedaffect.client.device.rotating import rotate
from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import write_private
from fedaffect.server.cli.fleet import fleet
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.messages import RunSubmission
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.flower_compat.errors import SuperLinkAway
from fedaffect.server.registry import Registry, audit, devices, groups


class Registering(SuperLink):
    """Remembers whom it was told of; none of them comes."""

    def __init__(self) -> None:
        self.registered: list[str] = []

    def register(self, public_key: str, name: str) -> int:
        self.registered.append(name)
        return len(self.registered)

    def unregister(self, node_id: int) -> None:
        pass

    def nodes(self) -> dict[int, str]:
        return {}


@dataclass
class Place:
    """A fleet's service at work, its operator's commands, and devices that enrol."""

    folder: FleetFolder
    registry: Registry
    superlink: Registering
    url: str
    devices: Path

    def say(self, *words: str) -> str:
        done = CliRunner().invoke(fleet, [*words, "--fleet", str(self.folder.path)])
        return done.output if done.exit_code == 0 else str(done.exception)

    def json(self, *words: str) -> Any:
        return json.loads(self.say(*words, "--json"))

    def enroll(self, name: str, token: str) -> DeviceFolder:
        folder = DeviceFolder(self.devices / name)
        enroll(
            folder,
            server=self.url,
            token=token,
            authority=self.folder.authority.certificate_path,
            name=name,
            consent=True,
            capabilities=Capabilities.here(("text",)),
            rules=LearningRules(),
            store=str(self.devices / f"{name}.sqlite3"),
        )
        return folder

    def check_in(self, device: DeviceFolder) -> dict[str, Any]:
        key = DeviceKey.read(device.key_path)
        with FleetService(self.url, device.authority_path, key, device.settings.id) as service:
            return service.post("/v1/device", {"consent": True})

    def names(self, *words: str) -> list[str]:
        return [device["name"] for device in self.json("devices", "list", *words)["devices"]]


@pytest.fixture
def place(fleet_folder: FleetFolder, registry: Registry, tmp_path: Path) -> Iterator[Place]:
    superlink = Registering()
    with served(fleet_folder, registry, superlink) as url:
        settings = replace(fleet_folder.settings, service_port=int(url.rpartition(":")[2]))
        write_private(fleet_folder.path / "fleet.toml", settings.to_toml().encode(), replace=True)
        yield Place(fleet_folder, registry, superlink, url, tmp_path / "devices")


def test_tokens_for_many_devices(place: Place) -> None:
    made = place.say("token", "--count", "3", "--group", "ward 3", "--note", "tablets").split()
    assert len(set(made)) == 3
    for number, token in enumerate(made):
        assert not place.enroll(f"tablet {number}", token).settings.waiting
    assert place.names("--group", "ward 3") == ["tablet 0", "tablet 1", "tablet 2"]
    (one,) = place.json("token", "--uses", "2")["tokens"]
    place.enroll("phone", one)
    place.enroll("watch", one)
    with pytest.raises(DeviceRefusedError, match="its 2 devices came in"):
        place.enroll("intruder", one)
    (leaked,) = place.json("token", "--uses", "100", "--hours", "720")["tokens"]
    assert "lets nobody else in; 0 of 100 devices came in by it" in place.say("token", "--end", leaked)
    with pytest.raises(DeviceRefusedError, match="expired"):
        place.enroll("intruder", leaked)
    listed = place.json("token", "--list")["tokens"]
    assert [(token["uses"], token["used"]) for token in listed] == [(1, 1)] * 3 + [(2, 2), (100, 0)]
    assert {token["group"] for token in listed[:3]} == {"ward 3"}
    assert "2 of 2" in place.say("token", "--list")
    assert not any(token.split("_")[2] in place.say("token", "--list") for token in (*made, one, leaked))
    assert "tablet 1" in place.say("devices", "list", "--group", "ward 3")
    audit.verify(place.registry)


def test_devices_that_wait_are_approved_or_leave(place: Place) -> None:
    (key,) = place.json("token", "--uses", "10", "--approval", "--group", "ward 3")["tokens"]
    phone, watch, tablet = (place.enroll(name, key) for name in ("phone", "watch", "tablet"))
    assert phone.settings.waiting
    said = CliRunner().invoke(device_command, ["status", "--device", str(phone.path)]).output
    assert "no: it waits until the fleet's operator approves it" in said
    with pytest.raises(DeviceWaitingError, match="device 'phone' waits until the operator approves it"):
        place.check_in(phone)
    assert place.superlink.registered == []
    assert place.names("--waiting") == ["phone", "watch", "tablet"]
    leave(tablet)
    assert place.names("--waiting") == ["phone", "watch"]
    assert place.names("--revoked") == ["tablet"]
    assert place.say("devices", "approve", "phone") == "1 device is approved\n"
    assert place.superlink.registered == ["phone"]
    assert place.check_in(phone)["bundle"] is None
    assert place.say("devices", "approve", "--all", "--group", "ward 4") == "0 devices are approved\n"
    approved = place.json("devices", "approve", "--all", "--group", "ward 3")["devices"]
    assert [(device["name"], device["status"]) for device in approved] == [("watch", "enrolled")]
    place.check_in(watch)
    assert "no device is named" in place.say("devices", "approve")
    assert "--group narrows --all" in place.say("devices", "approve", "phone", "--group", "ward 3")
    assert "no device has the id or name 'nobody'" in place.say("devices", "approve", "nobody")
    assert "is revoked and cannot be approved" in place.say("devices", "approve", tablet_id(place))
    audit.verify(place.registry)
    assert [entry.action for entry in audit.entries(place.registry, action="device.approved")] == 2 * [
        "device.approved"
    ]


def test_what_a_person_calls_a_device_is_not_in_the_log(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> int:
        raise SuperLinkAway("no answer")

    (key,) = place.json("token", "--uses", "10", "--approval")["tokens"]
    for method in ("register", "unregister"):
        monkeypatch.setattr(place.superlink, method, away)
    with caplog.at_level(logging.DEBUG, "fedaffect"):
        device = place.enroll("Hildegards Handy", key)
        place.say("devices", "approve", "--all")
        Aggregator(place.folder, place.registry, place.superlink).reconcile()
        monkeypatch.setattr(place.superlink, "register", lambda *_: 7)
        Aggregator(place.folder, place.registry, place.superlink).reconcile()
        rotate(device)
        place.say("revoke", "Hildegards Handy", "--reason", "lost")
        with pytest.raises(DeviceRefusedError):
            place.check_in(device)
    assert caplog.text.count(device.settings.id) >= 3
    assert "Hildegard" not in caplog.text


def tablet_id(place: Place) -> str:
    return next(device.id for device in devices.every(place.registry) if device.name == "tablet")


def test_devices_are_grouped_and_labelled(place: Place) -> None:
    (token,) = place.json("token", "--uses", "3")["tokens"]
    for name in ("phone", "watch", "tablet"):
        place.enroll(name, token)
    assert place.say("devices", "group", "ward 3", "phone", "watch") == "2 devices are in group ward 3\n"
    assert place.say("devices", "label", "watch", "--add", "pi 4", "--add", "loud") == (
        "1 device is labelled: loud (1), pi 4 (1)\n"
    )
    assert place.names("--group", "ward 3") == ["phone", "watch"]
    assert place.names("--group", "") == ["tablet"]
    assert place.names("--label", "loud") == ["watch"]
    assert place.say("devices", "label", "watch", "--remove", "loud", "--remove", "pi 4").endswith("no label\n")
    assert place.say("devices", "group", "", "watch") == "1 device is in no group\n"
    assert place.names("--group", "ward 3") == ["phone"]
    assert "cannot name a group" in place.say("devices", "group", "../x", "phone")
    assert "no label is named" in place.say("devices", "label", "phone")
    audit.verify(place.registry)


def test_a_run_of_a_group_asks_nobody_else(
    a_fleet: Callable[..., Fleet], grid: FleetGrid, registry: Registry, fleet_folder: FleetFolder
) -> None:
    groups.set_group(registry, ["d0", "d1", "d4"], "ward 3")
    fleet = a_fleet(rounds=2, clients_per_round=6)
    fleet.resume(grid, group="ward 3")
    for number in (1, 2):
        assert fleet.who(number) == dict.fromkeys(("d0", "d1", "d4"), "answered")
    aggregator = Aggregator(fleet_folder, registry, Registering())
    given = {"dataset": "synthetic", "cohort-folder": fleet.settings["cohort-folder"], "group": "ward 4"}
    with pytest.raises(ConfigError, match=r"ward 4.*ward 3"):
        aggregator.start_run(RunSubmission(settings=given))
