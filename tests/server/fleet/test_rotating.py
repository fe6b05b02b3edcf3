"""A device changes its key over the real service; killed anywhere, the same command finishes what was begun."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from tests.support.served import enrolled, served

from fedaffect.client.cli.device import device as device_command
from fedaffect.client.device import rotating
from fedaffect.client.device.certifying import CERTIFY, certify_if_due
from fedaffect.client.device.credentials import own_certificate
from fedaffect.client.device.errors import DeviceRefusedError, ServiceAway
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.rotating import rotate
from fedaffect.client.device.service import FleetService
from fedaffect.client.device.starting import DeviceAtWork
from fedaffect.client.protocol.certificate import DeviceCertificate
from fedaffect.client.protocol.identity import _HASH, DeviceKey, _claimed
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.processes import Child, Supervisor
from fedaffect.server.cli.fleet import fleet as fleet_command
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.runs.driver import RunDriver
from fedaffect.server.fleet.setup.authority import Authority
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.flower_compat.control import load_public_key
from fedaffect.server.flower_compat.errors import SuperLinkAway
from fedaffect.server.registry import Registry, audit, devices, keys, runs


@dataclass
class Nodes:
    """What the SuperLink knows of nodes."""

    known: dict[int, str] = field(default_factory=dict)
    away: bool = False
    gone: list[int] = field(default_factory=list)
    started: int = 0

    def start(self, app: Path) -> int:
        self.started += 1
        return self.started

    def register(self, public_key: str, name: str) -> int:
        if self.away:
            raise SuperLinkAway("the SuperLink does not answer; start it: fedaffect fleet up")
        for number, key in self.known.items():
            if load_public_key(key) == load_public_key(public_key):
                return number
        number = 100 + len(self.known) + len(self.gone)
        self.known[number] = public_key
        return number

    def unregister(self, node_id: int) -> None:
        if self.known.pop(node_id, None):
            self.gone.append(node_id)

    def nodes(self) -> dict[int, str]:
        return dict.fromkeys(self.known, "online")


@dataclass
class Place:
    registry: Registry
    device: DeviceFolder
    superlink: Nodes
    aggregator: Aggregator

    def public(self) -> str:
        return DeviceKey.read(self.device.key_path).public

    def counting(self) -> set[str]:
        return {key.public for key in keys.of(self.registry, "device", self.device.settings.id)}

    def check_in(self, path: Path | None = None) -> None:
        settings = self.device.settings
        key = DeviceKey.read(path or self.device.key_path)
        with FleetService(settings.server, self.device.authority_path, key, settings.id) as service:
            service.post("/v1/device", {"consent": True})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(Registry.open(folder.settings.registry))
        superlink: Any = Nodes()
        url = stack.enter_context(served(folder, registry, superlink))
        device = enrolled(registry, folder, tmp_path / "device", url)
        aggregator = Aggregator(folder, registry, superlink)
        aggregator.reconcile()
        yield Place(registry, device, superlink, aggregator)


def test_the_old_key_opens_nothing_any_more_and_the_device_is_the_same(place: Place, tmp_path: Path) -> None:
    before, old = place.public(), tmp_path / "stolen.key"
    old.write_bytes(place.device.key_path.read_bytes())
    old.chmod(0o600)
    known = devices.get(place.registry, "phone")
    said = CliRunner().invoke(device_command, ["rotate", "--device", str(place.device.path)])
    assert said.exit_code == 0, said.output
    assert "phone has a new key; the old one is refused from now on" in said.output
    assert place.public() != before
    assert place.counting() == {place.public()}
    now = devices.get(place.registry, "phone")
    assert (now.id, now.consent, now.status) == (known.id, True, "enrolled")
    assert now.node_id != known.node_id
    assert place.superlink.known == {now.node_id: place.public()}
    assert place.superlink.gone == [known.node_id]
    assert place.device.key_path.stat().st_mode & 0o077 == 0
    place.check_in()
    with pytest.raises(DeviceRefusedError, match="signature"):
        place.check_in(old)
    # Nor can who stole it retire the new one, or have a key of their own taken in.
    with pytest.raises(DeviceRefusedError):
        _say(place, DeviceKey.read(old), rotating.RETIRE, {"public_key": before})
    actions = [entry.action for entry in audit.entries(place.registry)]
    assert actions.count("key.rotated") == actions.count("key.revoked") == 1
    assert not list(place.device.path.glob("device.key.*"))


class Killed(BaseException):
    """As if the process ended at once."""


# Before or after each of the two requests, and at each change of a file.
MOMENTS = ["before register", "after register", "before retire", "after retire", "replace"]


def test_a_device_is_certified_again_with_its_new_key_and_the_log_says_so_once(place: Place) -> None:
    def certify() -> tuple[DeviceCertificate, bytes]:
        key = DeviceKey.read(place.device.key_path)
        settings = place.device.settings
        with FleetService(settings.server, place.device.authority_path, key, settings.id) as service:
            certify_if_due(place.device, service)
        own = own_certificate(place.device)
        assert own is not None
        return own

    first = certify()
    assert (first[0].device_id, first[0].number) == (place.device.settings.id, 0)
    assert certify() == first
    # One that is gone is had again, and is the same for a day: nobody fills the log with it.
    place.device.certificate_path.unlink()
    assert certify()[1] == first[1]
    rotate(place.device)
    second = own_certificate(place.device)
    assert second is not None
    assert second[0].key != first[0].key
    assert len([*audit.entries(place.registry, action="device.certified")]) == 2
    # While both keys are valid, the old one gets none.
    old = DeviceKey.read(place.device.key_path)
    new = DeviceKey.make(place.device.next_key_path)
    devices.rotate_key(place.registry, place.device.settings.id, new.public)
    with pytest.raises(DeviceRefusedError, match="newest key"):
        _say(place, old, CERTIFY, {})


def test_where_the_authoritys_key_is_kept_elsewhere_its_keeper_certifies_whom_it_knows(
    place: Place, tmp_path: Path
) -> None:
    fleet, settings = place.aggregator.folder, place.device.settings
    elsewhere = tmp_path / "stick.key"
    fleet.authority.key_path.rename(elsewhere)

    def ask() -> None:
        key = DeviceKey.read(place.device.key_path)
        with FleetService(settings.server, place.device.authority_path, key, settings.id) as service:
            certify_if_due(place.device, service)

    ask()
    assert own_certificate(place.device) is None
    command = ["certify", "--fleet", str(fleet.path), "--key", str(elsewhere)]
    # Whom it does not know it does not certify.
    said = CliRunner().invoke(fleet_command, command, input="n\n")
    assert said.exit_code == 1
    ask()
    assert own_certificate(place.device) is None
    said = CliRunner().invoke(fleet_command, command, input="y\n", catch_exceptions=False)
    assert "phone, number 0, SHA256:" in said.output
    if shutil.which("ssh-keygen"):
        known = subprocess.run(("ssh-keygen", "-lf", place.device.key_path), capture_output=True, text=True, check=True)
        assert f"phone, number 0, {known.stdout.split()[1]}\n" in said.output
    assert "1 devices are certified for 30 days" in said.output
    ask()
    own = own_certificate(place.device)
    assert own is not None
    assert own[0].device_id == settings.id
    # Who joins, or changes the key, while it is away has none before its keeper looks again.
    rotate(place.device)
    assert own_certificate(place.device) is None
    other = Authority.create(tmp_path / "other", "other").key_path
    refused = CliRunner().invoke(fleet_command, [*command[:-1], str(other), "--yes"])
    assert isinstance(refused.exception, ConfigError)
    assert "is not the key of" in str(refused.exception)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_device_killed_in_the_middle_says_it_again(
    moment: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, known = place.public(), devices.get(place.registry, "phone")
    say = rotating._say

    def dying(folder: DeviceFolder, key: DeviceKey, path: str, said: dict[str, str]) -> None:
        when, _, what = moment.partition(" ")
        hit = path.endswith("retire") == (what == "retire")
        if hit and when == "before":
            raise Killed
        say(folder, key, path, said)
        if hit and when == "after":
            raise Killed

    with monkeypatch.context() as patch:
        if moment == "replace":
            patch.setattr(Path, "replace", _dying_replace)
        else:
            patch.setattr(rotating, "_say", dying)
        with pytest.raises(Killed):
            rotate(place.device)
    # Meanwhile the device is in the fleet, by whichever key it has; Flower knows both as long as both count.
    place.aggregator.reconcile()
    place.check_in()
    assert set(place.superlink.known.values()) == place.counting()
    assert set(devices.nodes(place.registry)) == set(place.superlink.known)
    assert rotate(place.device) is True
    assert place.public() != before
    assert place.counting() == {place.public()}
    assert devices.get(place.registry, "phone").id == known.id
    # One change, however often it was said.
    assert [e.action for e in audit.entries(place.registry)].count("key.rotated") == 1
    place.check_in()
    assert rotate(place.device) is False


def _dying_replace(self: Path, target: Path) -> None:
    if self.name.endswith(".next"):
        raise Killed
    self.rename(target)


def test_without_the_superlink_both_keys_stay_until_it_is_said_again(place: Place) -> None:
    before = place.public()
    place.superlink.away = True
    with pytest.raises(ServiceAway, match="fedaffect fleet up"):
        rotate(place.device)
    assert place.public() == before
    place.check_in()
    place.superlink.away = False
    assert rotate(place.device)
    assert place.counting() == {place.public()}


def test_a_key_that_ran_out_in_between_is_replaced_by_the_one_that_was_taken_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _dying_replace)
        with pytest.raises(Killed):
            rotate(place.device)
    (old,) = [k for k in keys.of(place.registry, "device", place.device.settings.id) if k.public == place.public()]
    keys.revoke(place.registry, old.id, reason="as if a day were over")
    assert rotate(place.device)
    place.check_in()


def _say(place: Place, key: DeviceKey, path: str, said: dict[str, str]) -> None:
    settings = place.device.settings
    with FleetService(settings.server, place.device.authority_path, key, settings.id) as service:
        service.post(path, said)


def test_nobody_elses_key_is_taken_in_nor_the_wrong_one_retired(place: Place, tmp_path: Path) -> None:
    own, other = DeviceKey.read(place.device.key_path), DeviceKey.make(tmp_path / "other.key")
    for proof in ("", own.prove(place.device.settings.id), other.prove("another device")):
        with pytest.raises(DeviceRefusedError, match="proof"):
            _say(place, own, rotating.REGISTER, {"public_key": other.public, "proof": proof})
    with pytest.raises(DeviceRefusedError, match="key to keep"):
        _say(place, own, rotating.RETIRE, {"public_key": other.public})
    assert place.counting() == {own.public}


def test_a_device_revoked_while_it_changes_its_key_is_out_with_both(place: Place, tmp_path: Path) -> None:
    own, other = DeviceKey.read(place.device.key_path), DeviceKey.make(tmp_path / "other.key")
    said = {"public_key": other.public, "proof": other.prove(place.device.settings.id)}
    _say(place, own, rotating.REGISTER, said)
    place.aggregator.reconcile()
    assert len(place.superlink.known) == 2
    place.aggregator.revoke("phone", "lost", "operator")
    assert not place.superlink.known


def test_a_device_asked_with_a_key_that_it_changed_meanwhile_asks_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = DeviceAtWork(place.device)
    asked: list[str] = []

    def asking() -> None:
        asked.append(place.public())
        if len(asked) == 1:
            rotate(place.device)
            raise DeviceRefusedError("its key is retired")
        at_work.stop()

    monkeypatch.setattr(at_work, "_ask_once", asking)
    at_work._ask()
    assert at_work.refused is None
    assert len(set(asked)) == 2


def test_a_child_is_started_anew_when_told_to(tmp_path: Path) -> None:
    child = Child("supernode", ("sleep", "60"))
    supervisor = Supervisor([child])
    import threading

    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        _until(lambda: child.starts == 1)
        supervisor.restart("supernode")
        _until(lambda: child.starts == 2 and child.process is not None)
    finally:
        supervisor.stop()
        thread.join()


def test_why_a_child_ended_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    child = Child("gate", ("sh", "-c", "echo begun; echo 'port 9440 is taken' >&2; exit 3"), log=tmp_path / "gate.log")
    supervisor = Supervisor([child])
    import threading

    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        _until(lambda: child.starts == 2)
    finally:
        supervisor.stop()
        thread.join()
    assert "gate ended with status 3 (port 9440 is taken) and is restarted in" in caplog.text


def _until(there: Any) -> None:
    until = time.monotonic() + 300
    while not there():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("written", ["{} of my phone", "  {}\n", "{} a b c", "pem"])
def test_a_device_that_registers_its_own_key_again_however_written_changes_nothing(place: Place, written: str) -> None:
    own = DeviceKey.read(place.device.key_path)
    public = _as_pem(own.public) if written == "pem" else written.format(own.public)
    proof = own._key.sign(_claimed(place.device.settings.id, public), _HASH)
    said = {"public_key": public, "proof": b64encode(proof).decode()}
    before = devices.get(place.registry, "phone")
    with contextlib.suppress(DeviceRefusedError):
        _say(place, own, rotating.REGISTER, said)
    assert devices.get(place.registry, "phone") == before
    assert place.counting() == {own.public}
    place.aggregator.reconcile()
    runs.create(place.registry, run_id="run", config={"rounds": 1})
    driver = RunDriver(place.aggregator)
    assert driver.look_again()
    assert place.superlink.started == 1
    assert not driver.state().failures


def _as_pem(openssh: str) -> str:
    key = load_ssh_public_key(openssh.encode())
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
