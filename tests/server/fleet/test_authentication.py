"""Requests of devices: signed, in time, once, and of who is still enrolled; each refusal is audited."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.authentication import DeviceAuthenticator
from fedaffect.server.fleet.api.rate_limit import RateLimit
from fedaffect.server.fleet.api.service import create_app
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.errors import NotAuthorised, TooManyRequests
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, audit, devices, tokens

NOW = 1_800_000_000.0
BODY = b'{"consent": true}'


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        yield registry


@pytest.fixture
def key(tmp_path: Path) -> DeviceKey:
    return DeviceKey.make(tmp_path / "device.key")


@pytest.fixture
def device(registry: Registry, key: DeviceKey) -> devices.Device:
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    token = tokens.make_token(registry, valid=timedelta(hours=1))
    return devices.enroll(registry, token, name="phone", public_key=key.public, capabilities=able, consent=True)


@pytest.fixture
def admit(registry: Registry) -> Callable[[dict[str, str]], devices.Device]:
    gate = DeviceAuthenticator(registry, clock=lambda: NOW)
    return lambda headers: gate.authenticate("POST", "/v1/device", headers, BODY)


def test_a_signed_request_is_admitted_once(admit: Any, key: DeviceKey, device: devices.Device) -> None:
    headers = key.headers(device.id, "POST", "/v1/device", BODY, NOW)
    assert admit(headers).id == device.id
    with pytest.raises(NotAuthorised, match="second time"):
        admit(headers)


@pytest.mark.parametrize("skew_s", [-400.0, 400.0])
def test_a_clock_that_is_off_is_told_so(admit: Any, key: DeviceKey, device: devices.Device, skew_s: float) -> None:
    with pytest.raises(NotAuthorised, match="set its clock"):
        admit(key.headers(device.id, "POST", "/v1/device", BODY, NOW + skew_s))


def test_neither_path_nor_body_nor_device_can_be_exchanged(
    admit: Any, registry: Registry, key: DeviceKey, device: devices.Device
) -> None:
    for method, path, body in (
        ("GET", "/v1/device", BODY),
        ("POST", "/v1/device/revoke", BODY),
        ("POST", "/v1/device", b"{}"),
    ):
        with pytest.raises(NotAuthorised, match="signature"):
            admit(key.headers(device.id, method, path, body, NOW))
    with pytest.raises(NotAuthorised, match="not signed"):
        admit({})


def test_an_unknown_key_is_not_accepted(admit: Any, device: devices.Device, tmp_path: Path) -> None:
    stranger = DeviceKey.make(tmp_path / "stranger.key")
    with pytest.raises(NotAuthorised, match="signature"):
        admit(stranger.headers(device.id, "POST", "/v1/device", BODY, NOW))


def test_a_revoked_device_is_not_admitted(
    admit: Any, registry: Registry, key: DeviceKey, device: devices.Device
) -> None:
    devices.revoke(registry, device.id, reason="lost in a train")
    with pytest.raises(NotAuthorised, match="lost in a train"):
        admit(key.headers(device.id, "POST", "/v1/device", BODY, NOW))


class Caller:
    """Asks the service without a socket between."""

    def __init__(self, app: Any, token: str, registry: Registry) -> None:
        self._transport = httpx.ASGITransport(app)
        self.token = f"Bearer {token}"
        self.registry = registry

    def post(self, path: str, headers: dict[str, str] | None = None, **said: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="https://fleet") as client:
                return await client.post(path, headers={"authorization": self.token, **(headers or {})}, **said)

        return asyncio.run(ask())


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Caller]:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings(unauthenticated_per_minute=20))
    with Registry.open(folder.settings.registry) as registry:
        away = SuperLink("127.0.0.1:1", folder.authority.certificate_path)
        app = create_app(Aggregator(folder, registry, away), Auditor(folder.settings.registry, "service"))
        yield Caller(app, folder.operator_token(), registry)


def test_only_the_operators_token_makes_tokens(client: Caller) -> None:
    assert client.post("/v1/tokens", json={}).json()["tokens"][0].startswith("fe_")
    for wrong in ("", "Bearer ", "Bearer fe_1", client.token + "x"):
        answer = client.post("/v1/tokens", json={}, headers={"authorization": wrong})
        assert answer.status_code == 401
        assert "operator.token" in answer.json()["error"]


def test_an_enrolment_is_refused_in_one_line(client: Caller, key: DeviceKey) -> None:
    said = {"name": "d", "public_key": key.public, "modalities": ["text"], "memory_mb": 1, "cores": 1, "consent": True}
    answer = client.post("/v1/devices", json={**said, "token": "fe_123456789012_" + 64 * "0"})
    assert answer.status_code == 403
    assert "not one of ours" in answer.json()["error"]
    for broken in ({}, {**said, "token": 1, "memory_mb": "much"}, {**said, "token": "x", "public_key": "ssh-rsa AAAA"}):
        assert client.post("/v1/devices", json=broken).status_code == 422
    assert client.post("/v1/devices", content=b"[1]").status_code == 422
    assert client.post("/v1/devices", content=b" " * 2_000_000).status_code == 422


def test_without_the_superlink_an_enrolment_can_be_repeated(client: Caller, key: DeviceKey) -> None:
    token = client.post("/v1/tokens", json={}).json()["tokens"][0]
    said = {"name": "d", "public_key": key.public, "modalities": ["text"], "memory_mb": 1, "cores": 1, "consent": True}
    answers = [client.post("/v1/devices", json={**said, "token": token}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert "fedaffect fleet up" in answers[0].json()["error"]


def test_a_run_with_settings_that_do_not_fit_is_refused(client: Caller) -> None:
    for settings, why in (
        ({"rounds": 0}, "rounds"),
        ({"no-such": 1}, "no-such"),
        ({"mode": "centralized"}, "fedaffect simulate"),
        ({"cohort-folder": "/nowhere"}, "no cohort"),
    ):
        answer = client.post("/v1/runs", json={"settings": settings})
        assert answer.status_code == 422
        assert why in answer.json()["error"]


def test_refusals_stand_in_the_audit_log(client: Caller) -> None:
    client.post("/v1/tokens", json={}, headers={"authorization": "Bearer wrong"})
    client.post("/v1/device", json={}, headers={"x-fedaffect-device": "nobody"})
    wanted = {"operator.refused", "device.refused"}
    _until(lambda: wanted <= {entry.action for entry in audit.entries(client.registry)})
    audit.verify(client.registry)


def test_unauthenticated_callers_are_limited_and_known_ones_are_not(
    client: Caller, registry: Registry, key: DeviceKey, device: devices.Device
) -> None:
    said = {"name": "d", "public_key": key.public, "modalities": ["text"], "memory_mb": 1, "cores": 1, "consent": True}
    answers = [client.post("/v1/devices", json={**said, "token": f"fe_{n:012d}_x"}) for n in range(60)]
    assert [a.status_code for a in answers] == [403] * 20 + [429] * 40
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 4
    assert "try again in" in answers[-1].json()["error"]
    # Nor is there more to hear at other doors; but the operator, at the same address, is let in.
    assert client.post("/v1/device", json={}).status_code == 429
    assert client.post("/v1/tokens", json={}, headers={"authorization": "Bearer x"}).status_code == 429
    assert client.post("/v1/tokens", json={}).status_code == 200
    _until(lambda: any("too many" in e.details for e in audit.entries(client.registry)))
    # Sixty attempts, each with a token of its own, are a line for each reason.
    assert len(list(audit.entries(client.registry, action="enrolment.refused"))) == 2


def test_complaints_beyond_some_are_one_line_that_counts_them(registry: Registry, tmp_path: Path) -> None:
    now = [0.0]
    auditor = Auditor(f"sqlite:///{tmp_path / 'registry.db'}", "service", clock=lambda: now[0])
    for n in range(500):
        auditor.note("device.refused", "10.0.0.1", {"why": f"device {n} is unknown"})
    for n in range(300):
        auditor.note("enrolment.refused", f"10.0.1.{n}", {"why": "not one of ours"})
    now[0] = 61.0
    _until(lambda: any("count" in e.details for e in audit.entries(registry, action="enrolment.refused")))
    of_one = list(audit.entries(registry, action="device.refused"))
    of_all = list(audit.entries(registry, action="enrolment.refused"))
    assert (len(of_one), len(of_all)) == (11, 191)
    assert {
        (e.subject, e.action): json.loads(e.details)["count"] for e in (*of_one, *of_all) if "count" in e.details
    } == {
        ("10.0.0.1", "device.refused"): 490,
        ("many callers", "enrolment.refused"): 110,
    }
    auditor.note("device.refused", "10.0.0.1", {"why": "device 1 is unknown"})
    _until(lambda: len(list(audit.entries(registry, action="device.refused"))) == 12)


def test_an_address_of_ipv6_is_a_network_and_buckets_fill_again() -> None:
    now = [0.0]
    limit = RateLimit(2, 5, clock=lambda: now[0])
    for address in ("2001:db8::1", "2001:db8::2", "10.0.0.1", "10.0.0.2", "10.0.0.3"):
        limit.count(address)
    with pytest.raises(TooManyRequests) as one:
        limit.count("2001:db8::3")
    assert one.value.retry_after_s == 30
    with pytest.raises(TooManyRequests) as all_together:
        limit.count("10.0.0.4")
    assert all_together.value.retry_after_s == 12
    now[0] = 31.0
    limit.count("2001:db8::3")


def _until(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while not there():
        assert time.monotonic() < until
        time.sleep(0.05)
