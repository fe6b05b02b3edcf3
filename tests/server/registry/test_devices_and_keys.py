"""Devices: in once by a token, known by keys that overlap when they change, out when revoked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update
from tests.support.public_keys import public_key

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import Registry, audit, devices, groups, keys, tokens
from fedaffect.server.registry.devices import Capabilities, Device
from fedaffect.server.registry.errors import AuditBroken, DeviceRefused, EnrolmentRefused, KeyRefused
from fedaffect.server.registry.fleet_tables import EnrolmentTokenRow, KeyRow

CAPABILITIES = Capabilities(modalities=("face", "voice"), memory_mb=2048, cores=4)
YEAR = timedelta(days=365)


def _enroll(
    registry: Registry, name: str, *, token: str = "", key: str = "", consent: bool = True, region: bool = False
) -> Device:
    return devices.enroll(
        registry,
        token or tokens.make_token(registry),
        name=name,
        public_key=key or public_key(name),
        capabilities=CAPABILITIES,
        consent=consent,
        region=region,
    )


def _run_out(registry: Registry, public: str) -> None:
    """As if the time were over: the database's clock cannot be put forward."""
    with registry.writing() as session:
        row = session.scalars(select(KeyRow).where(KeyRow.fingerprint == keys.fingerprint(public))).one()
        row.not_before, row.not_after = row.not_before - YEAR, row.not_before - timedelta(seconds=1)


def _refusals(registry: Registry, action: str) -> int:
    return len(list(audit.entries(registry, action=action)))


def test_a_device_comes_in_once(registry: Registry) -> None:
    token = tokens.make_token(registry, note="the kitchen")
    with registry.reading() as session:
        assert token.split("_")[2] not in str(session.execute(text("SELECT * FROM enrolment_tokens")).all())
    device = _enroll(registry, "phone", token=token)
    assert (device.name, device.status, device.capabilities, device.consent) == (
        "phone",
        "enrolled",
        CAPABILITIES,
        True,
    )
    # The first answer was lost: the same key asks again.
    assert _enroll(registry, "phone", token=token) == device
    for name, used, key, says in (
        ("other", token, "", "was used: its device came in"),
        ("other", token[:-1] + ("0" if token[-1] != "0" else "1"), "", "not one of ours"),
        ("other", "nonsense", "", "not one of ours"),
        ("phone", tokens.make_token(registry), public_key("new"), "is enrolled; choose another name"),
        ("third", tokens.make_token(registry), public_key("phone"), "was enrolled before"),
    ):
        before = _refusals(registry, "enrolment.refused")
        with pytest.raises(EnrolmentRefused, match=says):
            _enroll(registry, name, token=used, key=key)
        assert _refusals(registry, "enrolment.refused") == before + 1
    brief = tokens.make_token(registry, valid=timedelta(milliseconds=20))
    time.sleep(0.05)
    with pytest.raises(EnrolmentRefused, match="expired at"):
        _enroll(registry, "late", token=brief)
    assert devices.every(registry) == [device]
    assert "secret" not in "".join(entry.details for entry in audit.entries(registry))


def test_of_devices_with_one_token_one_comes_in(registry: Registry, url: str) -> None:
    token = tokens.make_token(registry)
    together = threading.Barrier(4)
    with Registry.open(url) as other, ThreadPoolExecutor(4) as pool:

        def enter(index: int) -> bool:
            together.wait()
            try:
                _enroll((registry, other)[index % 2], f"phone {index}", token=token)
            except EnrolmentRefused:
                return False
            return True

        assert sum(pool.map(enter, range(4))) == 1
    assert len(devices.every(registry)) == 1


def test_who_may_take_part(registry: Registry) -> None:
    phone, watch, silent = (_enroll(registry, name, consent=name != "silent") for name in ("phone", "watch", "silent"))
    for number, device in enumerate((phone, watch, silent)):
        devices.set_node(registry, device.id, 2**64 - 1 - number)
    phone = devices.get(registry, "phone")
    assert phone.node_id == 2**64 - 1
    assert not silent.consent
    devices.set_consent(registry, silent.id, True)
    assert devices.get(registry, silent.id).consent
    assert keys.counts_now(registry, "device", phone.public_key)
    assert not keys.counts_now(registry, "device", public_key("stranger"))
    with pytest.raises(KeyRefused, match="known under another key"):
        devices.set_node(registry, watch.id, 2**64 - 1)
    revoked = devices.revoke(registry, "phone", reason="stolen")
    assert devices.revoke(registry, phone.id, reason="again") == revoked
    assert (revoked.status, revoked.reason, revoked.public_key) == ("revoked", "stolen", "")
    assert not keys.counts_now(registry, "device", phone.public_key)
    # Its name is free again, its key is not.
    with pytest.raises(EnrolmentRefused):
        _enroll(registry, "phone")
    assert _enroll(registry, "phone", key=public_key("another")).id != phone.id
    devices.seen(registry, [watch.id])
    assert devices.get(registry, watch.id).last_seen is not None
    with pytest.raises(DeviceRefused, match="no device has the id or name"):
        devices.get(registry, "nobody")


def test_a_device_changes_its_key_without_a_gap(registry: Registry) -> None:
    device = _enroll(registry, "phone")
    devices.set_node(registry, device.id, 1)
    rotated = devices.rotate_key(registry, device.id, public_key("second"), overlap=timedelta(hours=1))
    assert (rotated.public_key, rotated.node_id) == (public_key("second"), None)
    devices.set_node(registry, device.id, 2)
    assert all(keys.counts_now(registry, "device", key) for key in (device.public_key, rotated.public_key))
    # Again after a lost answer: neither key changes.
    assert devices.rotate_key(registry, device.id, public_key("second")).node_id == 2
    assert len(keys.of(registry, "device", device.id)) == 2
    _run_out(registry, device.public_key)
    assert not keys.counts_now(registry, "device", device.public_key)
    assert keys.counts_now(registry, "device", rotated.public_key)
    with pytest.raises(KeyRefused, match="make a new key"):
        devices.rotate_key(registry, device.id, public_key("phone"))
    devices.revoke(registry, device.id, reason="lost")
    with pytest.raises(DeviceRefused, match="is revoked"):
        devices.rotate_key(registry, device.id, public_key("third"))


def test_a_key_that_ran_out_lets_nobody_in(registry: Registry) -> None:
    device = _enroll(registry, "phone")
    _run_out(registry, device.public_key)
    assert not keys.counts_now(registry, "device", device.public_key)
    with pytest.raises(KeyRefused, match="none can be replaced"):
        devices.rotate_key(registry, device.id, public_key("second"))


def _insert(registry: Registry, **values: Any) -> keys.Key:
    with registry.writing() as session:
        return keys.insert(session, not_before=None, **values)


def test_certificates_of_servers_overlap_too(registry: Registry) -> None:
    now = datetime.now(UTC)
    one, two, three = map(public_key, ("one", "two", "three"))
    first = _insert(registry, kind="server", owner="superlink", public=one, not_after=now + timedelta(days=20))
    assert (
        _insert(
            registry,
            kind="server",
            owner="superlink",
            public=f" {one} of it\n",
            not_after=now + YEAR,
        )
        == first
    )
    second = keys.rotate(registry, kind="server", owner="superlink", public=two, not_after=now + YEAR)
    assert second.replaces == first.id
    assert [key.id for key in keys.of(registry, "server", "superlink")] == [second.id, first.id]
    assert keys.of(registry, "server", "superlink")[1].not_after < first.not_after
    with pytest.raises(KeyRefused, match="is registered for server 'superlink' already"):
        _insert(registry, kind="ca", owner="ca", public=two, not_after=now + YEAR)
    with pytest.raises(ConfigError, match="before the old one"):
        keys.rotate(registry, kind="server", owner="superlink", public=three, not_after=now + timedelta(hours=1))
    for wrong in ({"not_after": now - YEAR}, {"kind": "nothing"}, {"public": " "}):
        with pytest.raises(ConfigError):
            _insert(registry, **({"kind": "ca", "owner": "ca", "public": three, "not_after": now + YEAR} | wrong))
    keys.revoke(registry, second.id, reason="leaked")
    assert [key.id for key in keys.of(registry, "server", "superlink")] == [first.id]
    assert [entry.action for entry in audit.entries(registry)] == [
        "key.rotated",
        "key.revoked",
    ]


def test_a_token_lets_as_many_in_as_it_says_until_it_ends(registry: Registry) -> None:
    token = tokens.make_token(registry, uses=2, group="ward 3")
    first = _enroll(registry, "phone", token=token)
    assert _enroll(registry, "phone", token=token) == first
    second = _enroll(registry, "watch", token=token)
    assert {first.group, second.group} == {"ward 3"}
    with pytest.raises(EnrolmentRefused, match="its 2 devices came in"):
        _enroll(registry, "tablet", token=token)
    # One that is out again has used it all the same.
    devices.revoke(registry, "watch", reason="lost")
    with pytest.raises(EnrolmentRefused, match="its 2 devices came in"):
        _enroll(registry, "tablet", token=token)
    leaked = tokens.make_token(registry, uses=100)
    _enroll(registry, "tablet", token=leaked)
    ended = tokens.end_token(registry, leaked)
    assert (ended.uses, ended.used) == (100, 1)
    assert tokens.end_token(registry, ended.id) == ended
    with pytest.raises(EnrolmentRefused, match="expired at"):
        _enroll(registry, "intruder", token=leaked)
    for uses in (0, 100_001):
        with pytest.raises(ConfigError, match=r"lets 1 to 100,000 devices in"):
            tokens.make_token(registry, uses=uses)
    with pytest.raises(ConfigError, match="no enrolment token has the id 'nonsense'"):
        tokens.end_token(registry, "nonsense")
    audit.verify(registry)


def test_many_devices_share_a_token_at_once_and_no_more_than_it_says(registry: Registry, url: str) -> None:
    token = tokens.make_token(registry, uses=3)
    together = threading.Barrier(6)
    with Registry.open(url, wait_s=30.0) as other, ThreadPoolExecutor(6) as pool:

        def enter(index: int) -> bool:
            together.wait()
            try:
                _enroll((registry, other)[index % 2], f"phone {index}", token=token)
            except EnrolmentRefused:
                return False
            return True

        assert sum(pool.map(enter, range(6))) == 3
    assert sorted(device.partition for device in devices.every(registry)) == [0, 1, 2]
    audit.verify(registry)


def test_a_device_that_waits_takes_part_in_nothing_before_it_is_approved(registry: Registry) -> None:
    phone = _enroll(registry, "phone", token=tokens.make_token(registry, approval=True))
    devices.set_node(registry, phone.id, 7)
    assert phone.status == "waiting"
    assert devices.nodes(registry) == {}
    assert not keys.counts_now(registry, "device", phone.public_key)
    # Its name is taken, and no other device gets its number.
    with pytest.raises(EnrolmentRefused, match="choose another name"):
        _enroll(registry, "phone", key=public_key("other"))
    assert _enroll(registry, "watch").partition == phone.partition + 1
    with pytest.raises(DeviceRefused, match="no device has the id or name 'nobody'"):
        groups.approve(registry, ["phone", "nobody"])
    assert devices.get(registry, "phone").status == "waiting"
    assert [device.status for device in groups.approve(registry, ["phone"])] == ["enrolled"]
    assert set(devices.nodes(registry)) == {7}
    assert keys.counts_now(registry, "device", phone.public_key)
    groups.approve(registry, [phone.id])
    assert _refusals(registry, "device.approved") == 1
    out = _enroll(registry, "tablet", token=tokens.make_token(registry, approval=True))
    assert devices.revoke(registry, out.id, reason="nobody knows it").status == "revoked"
    with pytest.raises(DeviceRefused, match="is revoked and cannot be approved"):
        groups.approve(registry, [out.id])
    audit.verify(registry)


def test_groups_and_labels_are_told_by_the_log(registry: Registry) -> None:
    for name in ("phone", "watch"):
        _enroll(registry, name)
    assert {device.group for device in groups.set_group(registry, ["phone", "watch"], "ward 3")} == {"ward 3"}
    groups.set_group(registry, ["phone"], "ward 3")
    assert _refusals(registry, "device.grouped") == 2
    (phone,) = groups.set_labels(registry, ["phone"], add=["pi 4", "loud"])
    assert phone.labels == ("loud", "pi 4")
    (phone,) = groups.set_labels(registry, ["phone"], add=["new"], remove=["loud", "unknown"])
    assert phone.labels == ("new", "pi 4")
    with pytest.raises(ConfigError, match="20 are the most"):
        groups.set_labels(registry, ["watch", "phone"], add=[f"label {number}" for number in range(19)])
    assert devices.get(registry, "watch").labels == ()
    audit.verify(registry)


def test_a_region_says_how_many_devices_it_has_and_a_device_does_not(registry: Registry) -> None:
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    made = {}
    for name, region in (("north", True), ("phone", False)):
        token = tokens.make_token(registry, valid=timedelta(hours=1), region=region)
        made[name] = devices.enroll(
            registry, token, name=name, public_key=public_key(name), capabilities=able, consent=True, region=region
        )
    assert (made["north"].region, made["phone"].region) == ({}, None)
    devices.report_region(registry, made["north"].id, {"devices": 2, "online": 1, "numbers": 5})
    assert devices.get(registry, "north").region == {"devices": 2, "online": 1, "numbers": 5}
    with pytest.raises(DeviceRefused, match="is no region; join as one"):
        devices.report_region(registry, made["phone"].id, {"devices": 2})


def test_a_region_comes_in_by_a_token_for_regions_and_a_device_by_none(registry: Registry) -> None:
    of_devices, of_regions = tokens.make_token(registry), tokens.make_token(registry, region=True)
    with pytest.raises(EnrolmentRefused, match=r"lets no region in; .* fedaffect fleet token --region"):
        _enroll(registry, "north", token=of_devices, region=True)
    with pytest.raises(EnrolmentRefused, match=r"lets regions in; have one made with fedaffect fleet token$"):
        _enroll(registry, "phone", token=of_regions)
    assert _enroll(registry, "north", token=of_regions, region=True).region == {}
    assert _enroll(registry, "phone", token=of_devices).region is None
    assert [token.region for token in tokens.every(registry)] == [False, True]
    audit.verify(registry)


def test_a_token_that_was_made_one_for_regions_is_found_out(registry: Registry) -> None:
    token = tokens.make_token(registry)
    with registry.writing() as session:
        session.execute(update(EnrolmentTokenRow).values(region=True))
    _enroll(registry, "north", token=token, region=True)
    with pytest.raises(AuditBroken, match="otherwise than its token says"):
        audit.verify(registry)
