"""Every message to the service is read strictly; what is wrong is named, and nothing is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from tests.server.fleet.test_authentication import Caller

from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.protocol.sizes import CHARGES_PER_CHECK_IN
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.service import create_app
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, audit, devices, privacy, runs, tokens

SPENT = {"run": "r", "round": 1, "attempt": 1, "epsilon": 1.0, "delta": 1e-5, "noise_multiplier": 1.0}


class Place:
    """A service with one enrolled device."""

    def __init__(self, caller: Caller, registry: Registry, key: DeviceKey, device: devices.Device) -> None:
        self.caller, self.registry, self.key, self.device = caller, registry, key, device

    def check_in(self, body: bytes) -> Any:
        headers = self.key.headers(self.device.id, "POST", "/v1/device", body)
        return self.caller.post("/v1/device", headers=headers, content=body)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings(unauthenticated_per_minute=1000))
    with Registry.open(folder.settings.registry) as registry:
        away = SuperLink("127.0.0.1:1", folder.authority.certificate_path)
        app = create_app(Aggregator(folder, registry, away), Auditor(folder.settings.registry, "service"))
        key = DeviceKey.make(tmp_path / "device.key")
        able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
        token = tokens.make_token(registry)
        device = devices.enroll(registry, token, name="phone", public_key=key.public, capabilities=able, consent=False)
        yield Place(Caller(app, folder.operator_token(), registry), registry, key, device)


def refusal(answer: Any) -> str:
    assert answer.status_code == 422, answer.text
    said = str(answer.json()["error"])
    assert "\n" not in said
    assert len(said) <= 300
    return said


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('"false"', "'consent' in the check-in should be a valid boolean, not 'false'"),
        ('"true"', "should be a valid boolean"),
        ("1", "should be a valid boolean, not 1"),
        ("0", "should be a valid boolean"),
        ("[true]", "should be a valid boolean"),
        ("{}", "should be a valid boolean"),
        ('"' + 10_000 * "x" + '"', "should be a valid boolean"),
    ],
)
def test_only_a_boolean_is_consent(place: Place, value: str, why: str) -> None:
    assert why in refusal(place.check_in(f'{{"consent": {value}}}'.encode()))
    assert devices.get(place.registry, place.device.id).consent is False


def test_a_device_gives_and_takes_back_consent_and_may_leave_it_out(place: Place) -> None:
    for body, consent in ((b'{"consent": true}', True), (b"{}", True), (b'{"consent": false}', False), (b"", False)):
        assert place.check_in(body).status_code == 200
        assert devices.get(place.registry, place.device.id).consent is consent


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"consnt": true}', "unknown key 'consnt' in the check-in; did you mean 'consent'?"),
        (b'{"\\u0000": 1}', "unknown key '\\x00' in the check-in; known: consent, privacy"),
        (b"[1]", "the check-in"),
        (b"null", "the check-in"),
        (b"{", "the check-in is not valid JSON"),
        (b'{"consent": tru}', "the check-in is not valid JSON"),
        (b'{"consent": "\xff"}', "the check-in is not valid JSON"),
        (b'{"privacy": ' + 5000 * b"[" + 5000 * b"]" + b"}", "the check-in is not valid JSON"),
        (b'{"privacy": {}}', "'privacy' in the check-in should be a valid array"),
        (b'{"privacy": [1]}', "'privacy.0' in the check-in should be"),
    ],
)
def test_what_is_not_a_check_in_is_refused(place: Place, body: bytes, why: str) -> None:
    assert why in refusal(place.check_in(body))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"epsilon": "1.0"}, "'privacy.0.epsilon' in the check-in should be a valid number, not '1.0'"),
        ({"epsilon": float("nan")}, "should be a finite number"),
        ({"epsilon": float("inf")}, "should be a finite number"),
        ({"epsilon": -1}, "should be greater than or equal to 0"),
        ({"epsilon": True}, "should be a valid number"),
        ({"delta": 1}, "should be less than 1"),
        ({"round": 1.5}, "should be a valid integer"),
        ({"round": True}, "should be a valid integer"),
        ({"round": 2**31}, "should be less than 2147483648"),
        ({"run": "a\0b"}, "should have no control characters"),
        ({"run": "x" * 65}, "should have at most 64 characters"),
        ({"epsilonn": 1.0}, "unknown key 'epsilonn' in the check-in; did you mean 'epsilon'?"),
        ({"noise_multiplier": None}, "should be a valid number"),
    ],
)
def test_spent_privacy_that_is_not_a_figure_is_not_recorded(place: Place, change: dict[str, Any], why: str) -> None:
    assert why in refusal(place.check_in(json.dumps({"privacy": [SPENT | change]}).encode()))
    assert privacy.charges(place.registry) == []


@pytest.mark.parametrize("moment", ["nan", "inf", "-inf", "", "now", "1e999", "[1]"])
def test_a_time_that_is_not_a_number_authenticates_nothing(place: Place, moment: str) -> None:
    headers = place.key.headers(place.device.id, "POST", "/v1/device", b"{}")
    answer = place.caller.post("/v1/device", headers=headers | {"x-fedaffect-time": moment}, content=b"{}")
    assert answer.status_code == 401
    assert "time is not a number" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"consent": "false"}, "'consent' in the enrolment should be a valid boolean, not 'false'"),
        ({"memory_mb": "100"}, "'memory_mb' in the enrolment should be a valid integer, not '100'"),
        ({"memory_mb": 0}, "should be greater than or equal to 1"),
        ({"cores": True}, "should be a valid integer"),
        ({"modalities": "text"}, "should be a valid array"),
        ({"modalities": []}, "should have at least 1 item"),
        ({"modalities": ["smell"]}, "'modalities.0' in the enrolment should be 'text', 'audio' or 'video'"),
        ({"name": "a/b"}, "cannot name a device"),
        ({"name": "two\nlines"}, "cannot name a device"),
        ({"name": "x" * 5_000}, "should have at most 2000 characters"),
        ({"name": 7}, "should be a valid string, not 7"),
        ({"public_key": "ssh-rsa AAAA"}, "public key"),
        ({"tokn": "fe_1_2"}, "unknown key 'tokn' in the enrolment; did you mean 'token'?"),
    ],
)
def test_an_enrolment_that_does_not_fit_spends_no_token(place: Place, change: dict[str, Any], why: str) -> None:
    token = place.caller.post("/v1/tokens", json={}).json()["tokens"][0]
    request = {
        "token": token,
        "name": "tablet",
        "public_key": place.key.public,
        "modalities": ["text"],
        "memory_mb": 1,
        "cores": 1,
        "consent": True,
    }
    assert why in refusal(place.caller.post("/v1/devices", json=request | change))
    assert [device.name for device in devices.every(place.registry)] == ["phone"]


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("/v1/tokens", {"hours": "24"}, "'hours' in the token request should be a valid number"),
        ("/v1/tokens", {"hours": -1}, "should be greater than 0"),
        ("/v1/tokens", {"hour": 1}, "did you mean 'hours'?"),
        ("/v1/tokens", {"note": "a\0"}, "should have no control characters"),
        ("/v1/rollouts", {"version": "v", "percent": "10"}, "should be a valid number"),
        ("/v1/rollouts", {"version": "v", "percent": 101}, "should be less than or equal to 100"),
        ("/v1/rollouts", {"back": "false"}, "should be a valid boolean"),
        ("/v1/runs", {"settings": []}, "should be an object"),
        ("/v1/runs", {"settings": {"bundle": "a\0b"}}, "should have no control characters"),
        ("/v1/runs", {"settings": {"nested": [{"\0": 1}]}}, "should have no control characters"),
        ("/v1/runs", {"setings": {}}, "did you mean 'settings'?"),
        ("/v1/runs", {"settings": {"roundz": 3}}, "did you mean 'rounds'?"),
        ("/v1/runs", {"settings": {"rounds": "3"}}, "rounds"),
        ("/v1/runs", {"settings": {"rounds": True}}, "rounds"),
        ("/v1/runs", {"settings": {"rounds": 2.5}}, "rounds"),
        ("/v1/runs", {"settings": {"lr": float("nan")}}, "lr"),
        ("/v1/runs", {"settings": {"lr": "fast"}}, "lr"),
        ("/v1/runs", {"settings": {"strategy": "fedavgg"}}, "did you mean 'fedavg'?"),
        ("/v1/runs", {"settings": {"name": "../elsewhere"}}, "is not a folder name of"),
        ("/v1/runs", {"settings": {"name": "a b"}}, "cannot name a run"),
        ("/v1/runs", {"settings": {"model": "cmtt"}}, "did you mean 'cmt'?"),
        ("/v1/runs", {"settings": {"strategy-options": {"server-l": 1}}}, "unknown strategy option"),
        ("/v1/runs", {"settings": {"gather-s": "5"}}, "'gather-s' in the run's settings should be a valid number"),
        ("/v1/runs", {"settings": {"gather-s": -1}}, "should be greater than or equal to 0"),
        ("/v1/runs", {"settings": {"cohort-folder": ["x"]}}, "should be a valid string"),
        ("/v1/status", {"x": 1}, "unknown key 'x' in the status request"),
        ("/v1/devices/phone/revoke", {"reason": ["lost"]}, "should be a valid string"),
        ("/v1/devices/phone/revoke", {"reason": "x" * 501}, "should have at most 500 characters"),
    ],
)
def test_the_operators_requests_are_checked_too(place: Place, path: str, body: dict[str, Any], why: str) -> None:
    assert why in refusal(place.caller.post(path, content=json.dumps(body)))
    assert runs.every(place.registry) == []
    assert devices.get(place.registry, place.device.id).status == "enrolled"


def test_conflicting_charges_are_one_line_of_the_audit_log(place: Place) -> None:
    runs.create(place.registry, run_id="run", config={})
    charge = {"run": "run", "round": 1, "attempt": 1, "epsilon": 1.0, "delta": 1e-5, "noise_multiplier": 1.0}
    assert place.check_in(json.dumps({"privacy": [charge]}).encode()).status_code == 200
    conflicting = [{**charge, "epsilon": 2.0 + n} for n in range(150)]
    unknown = [{**charge, "run": f"run {n}"} for n in range(50)]
    assert place.check_in(json.dumps({"privacy": [*conflicting, *unknown]}).encode()).status_code == 200
    (line,) = audit.entries(place.registry, action="privacy.refused")
    assert json.loads(line.details)["count"] == 150
    assert len(privacy.charges(place.registry)) == 1


def test_a_check_in_holds_the_writer_for_a_few_statements_however_much_it_says(place: Place) -> None:
    for number in range(CHARGES_PER_CHECK_IN):
        runs.create(place.registry, run_id=f"run-{number}", config={})
    spent = [{**SPENT, "run": f"run-{n}", "epsilon": 1.0 + n} for n in range(CHARGES_PER_CHECK_IN)]
    statements: list[str] = []
    event.listen(place.registry._engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    assert place.check_in(json.dumps({"privacy": spent}).encode()).status_code == 200
    assert len(privacy.charges(place.registry)) == CHARGES_PER_CHECK_IN
    assert len(statements) < 60
    assert "at most" in refusal(place.check_in(json.dumps({"privacy": [*spent, SPENT]}).encode()))
    assert "one delta" in refusal(place.check_in(json.dumps({"privacy": [SPENT, {**SPENT, "delta": 1e-6}]}).encode()))


def test_an_enrolled_device_that_never_stops_asking_is_answered_429_and_others_are_not(
    place: Place, tmp_path: Path
) -> None:
    answers = [200]
    # Where it takes long, it gets a few more meanwhile.
    while answers[-1] == 200 and len(answers) < 300:
        answers.append(place.check_in(b"{}").status_code)
    assert answers[1:121] == [200] * 120
    assert answers[-1] == 429
    key = DeviceKey.make(tmp_path / "other.key")
    other = devices.enroll(
        place.registry,
        tokens.make_token(place.registry),
        name="other",
        public_key=key.public,
        capabilities=place.device.capabilities,
        consent=True,
    )
    headers = key.headers(other.id, "POST", "/v1/device", b"{}")
    assert place.caller.post("/v1/device", headers=headers, content=b"{}").status_code == 200
