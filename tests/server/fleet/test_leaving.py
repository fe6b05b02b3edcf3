"""A device that leaves a fleet believes nothing of it any more; what its user or another device vouches for stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.support.served import served

from fedaffect.client.cli.device import device as device_command
from fedaffect.client.device.enrolling import Capabilities, enroll, leave
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.permission import LearningRules
from fedaffect.client.device.starting import DeviceAtWork
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.bundle import SigningKey
from fedaffect.edge.bundle.signature import Trust, trust_key
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, devices, tokens

Join = Callable[[str], DeviceFolder]


class Registering(SuperLink):
    """Takes every key."""

    def register(self, public_key: str, name: str) -> int:
        return abs(hash(public_key)) % 2**62

    def unregister(self, node_id: int) -> None: ...


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SigningKey:
    """The operator's, which is nobody's here."""
    made = SigningKey.generate()
    monkeypatch.setattr(SigningKey, "own", classmethod(lambda cls, folder=None: made))
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    return made


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as opened:
        yield opened


@pytest.fixture
def join(tmp_path: Path, key: SigningKey, registry: Registry) -> Iterator[Join]:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    authority = folder.authority.certificate_path
    with ExitStack() as stack:
        url = stack.enter_context(served(folder, registry, Registering("127.0.0.1:1", authority)))

        def made(name: str) -> DeviceFolder:
            device = DeviceFolder(tmp_path / name)
            token = tokens.make_token(registry, valid=timedelta(hours=1))
            enroll(
                device,
                server=url,
                token=token,
                authority=authority,
                name=name,
                consent=True,
                capabilities=Capabilities.here(),
                rules=LearningRules(),
            )
            return device

        yield made


def believed(key: SigningKey) -> bool:
    return key.public.id in Trust.default().keys


def test_a_device_that_leaves_no_longer_believes_the_fleets_bundles(join: Join, key: SigningKey) -> None:
    device = join("phone")
    assert believed(key)
    leave(device)
    assert not believed(key)
    assert not device.enrolled


def test_the_other_device_of_a_user_goes_on_believing(join: Join, key: SigningKey) -> None:
    phone, watch = join("phone"), join("watch")
    leave(phone)
    assert believed(key)
    leave(watch)
    assert not believed(key)


def test_what_the_user_trusts_without_a_fleet_stays(join: Join, key: SigningKey) -> None:
    other = SigningKey.generate()
    for own in (key, other):
        trust_key(own.public)
    leave(join("phone"))
    assert believed(key)
    assert believed(other)


def test_a_device_that_was_revoked_can_leave_too(join: Join, key: SigningKey, registry: Registry) -> None:
    device = join("phone")
    devices.revoke(registry, device.settings.id, reason="sold")
    leave(device)
    assert not believed(key)
    assert not device.key_path.exists()


def test_a_device_whose_clock_is_off_waits_for_it_and_stays(
    join: Join, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    work, off_s = DeviceAtWork(join("phone")), [-400.0]
    signed = DeviceKey.headers

    def headers(key: DeviceKey, *given: Any) -> dict[str, str]:
        device_id, method, path, body = given
        return signed(key, device_id, method, path, body, time.time() + off_s[0])

    monkeypatch.setattr(DeviceKey, "headers", headers)
    # Once the clock is put right.
    monkeypatch.setattr(work, "_wait", lambda: work.stop() if not off_s[0] else off_s.__setitem__(0, 0.0))
    with caplog.at_level("WARNING"):
        work._ask()
    assert work.refused is None
    assert work._approved.is_set()
    assert ["the clock of device 'phone' is 400 s slow" in record.message for record in caplog.records] == [True]


def test_a_device_that_was_revoked_says_so_at_its_own_prompt(join: Join, registry: Registry) -> None:
    device = join("phone")
    devices.revoke(registry, device.settings.id, reason="sold" * 50)
    work = DeviceAtWork(device)
    work._ask()
    assert "'phone' was revoked (soldsold" in str(work.refused)
    assert str(work.refused).endswith("to join again: fedaffect device revoke, then enroll")
    assert len(str(work.refused)) <= 160
    for command in (["budget"], ["consent", "--yes"]):
        said = CliRunner().invoke(device_command, [*command, "--device", str(device.path)])
        assert (said.exit_code, said.stderr) == (0, f"note: {work.refused}\n")
    leave(device)
    assert not device.revoked_path.exists()


def test_a_device_learns_from_its_own_examples_only_with_noise_of_its_own(join: Join) -> None:
    assert join("phone").settings.only_private
