"""What a fleet's service tells those who watch it: alive, ready, and its figures for Prometheus."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text, update
from tests.support.fleet_runs import CLIENTS, Fleet, FleetGrid
from tests.support.served import enrolled, served

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.server.fleet.api import health
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, api_keys, devices, leases, participations, privacy, rounds, runs
from fedaffect.server.registry.fleet_tables import DeviceRow

Figures = dict[str, float]


class Reached(SuperLink):
    """Answers with two nodes, one of them online."""

    def __init__(self) -> None: ...

    def nodes(self) -> dict[int, str]:
        return {1: "online", 2: "offline"}


@pytest.fixture
def url(fleet_folder: FleetFolder, registry: Registry) -> Iterator[str]:
    with served(fleet_folder, registry, Reached()) as url:
        yield url


@pytest.fixture
def ask(fleet_folder: FleetFolder, url: str) -> Iterator[Callable[..., httpx.Response]]:
    with httpx.Client(base_url=url, verify=_trust(fleet_folder), timeout=60) as client:
        yield lambda path, token="": client.get(path, headers={"authorization": f"Bearer {token}"} if token else {})


@pytest.fixture
def figures(ask: Callable[..., httpx.Response], fleet_folder: FleetFolder) -> Callable[[], Figures]:
    def read() -> Figures:
        answer = ask("/metrics", fleet_folder.operator_token())
        assert answer.status_code == 200
        samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
        return {"/".join((sample.name, *sample.labels.values())): sample.value for sample in samples}

    return read


def _trust(folder: FleetFolder) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder.authority.certificate_path)


def _check_in(device: DeviceFolder, url: str) -> None:
    with FleetService(url, device.authority_path, DeviceKey.read(device.key_path), device.settings.id) as service:
        service.post("/v1/device", {"consent": True})


def test_alive_and_ready_answer_anybody(ask: Callable[..., httpx.Response]) -> None:
    assert ask("/livez").json() == {"status": "alive"}
    assert ask("/readyz").json() == {"status": "ready"}


def test_each_part_that_is_away_is_named_without_addresses(
    ask: Callable[..., httpx.Response],
    registry: Registry,
    fleet_folder: FleetFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "_FRESH_S", 0.0)
    with registry.writing() as session:
        (revision,) = session.execute(text("SELECT version_num FROM alembic_version")).one()
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert ask("/readyz").json()["status"] == (
        f"the registry has tables of revision 0001, this program works with {revision}"
    )
    with registry.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    assert ask("/readyz").status_code == 200

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 10**12, 10**7))
    answer = ask("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (
        503,
        "disk of the fleet: 10 MB are left, and 256 are wanted",
    )
    assert ask("/livez").status_code == 200
    monkeypatch.undo()
    monkeypatch.setattr(health, "_FRESH_S", 0.0)
    fleet_folder.renew_certificate(days=-1)
    assert ask("/readyz").json()["status"].startswith("the server's certificate: ended ")

    registry.close()
    database = fleet_folder.path / "registry.db"
    database.unlink()
    database.mkdir()
    said = ask("/readyz").json()["status"]
    assert "the registry does not answer" in said
    assert str(fleet_folder.path) not in said


def test_without_its_superlink_it_is_not_ready(fleet_folder: FleetFolder, registry: Registry) -> None:
    with served(fleet_folder, registry) as url:
        answer = httpx.get(f"{url}/readyz", verify=_trust(fleet_folder), timeout=60)
    assert (answer.status_code, answer.json()) == (503, {"status": "the SuperLink does not answer"})


def test_metrics_are_for_the_operator_and_for_keys_with_that_scope(
    ask: Callable[..., httpx.Response], registry: Registry, fleet_folder: FleetFolder
) -> None:
    _, watcher = api_keys.create(registry, "prometheus", ["metrics"])
    _, asker = api_keys.create(registry, "app", ["predict"])
    given = {"": 401, "wrong": 401, asker: 401, watcher: 200, fleet_folder.operator_token(): 200}
    assert {token: ask("/metrics", token).status_code for token in given} == given
    assert "operator's token is taken too" in ask("/metrics", asker).json()["error"]
    # A key for metrics lets nobody act.
    with httpx.Client(verify=_trust(fleet_folder)) as client:
        headers = {"authorization": f"Bearer {watcher}"}
        assert client.post(f"{str(ask('/livez').url)[:-6]}/v1/status", headers=headers, json={}).status_code == 401


@pytest.mark.slow
def test_figures_of_a_run(
    figures: Callable[[], Figures],
    a_fleet: Callable[..., Fleet],
    grid: FleetGrid,
    registry: Registry,
    fleet_folder: FleetFolder,
    url: str,
    tmp_path: Path,
) -> None:
    before = figures()
    assert before["fedaffect_fleet_rounds_total/committed"] == 0
    assert before["fedaffect_fleet_updates_rejected_total/duplicate"] == 0
    assert before["fedaffect_fleet_devices/enrolled"] == CLIENTS
    with registry.writing() as session:
        session.execute(update(DeviceRow).values(last_seen=None))
    assert figures()["fedaffect_fleet_devices_heard/5m"] == 0
    assert before["fedaffect_fleet_devices_online"] == 1
    fleet = a_fleet(rounds=2)
    fleet.resume(grid)
    _check_in(enrolled(registry, fleet_folder, tmp_path / "phone", url), url)
    after = figures()
    assert after["fedaffect_fleet_rounds_total/committed"] == 2
    assert after["fedaffect_fleet_round_seconds_count/committed"] == 2
    taken = [p for number in (1, 2) for p in participations.of_round(registry, fleet.id, number)]
    assert after["fedaffect_fleet_updates_total/answered"] == len(taken) > 0
    assert after["fedaffect_fleet_update_bytes_total/up"] == sum(p.bytes_up for p in taken) > 0
    assert after["fedaffect_fleet_runs/finished"] == 1
    assert after["fedaffect_fleet_devices/enrolled"] == CLIENTS + 1
    assert after["fedaffect_fleet_devices_heard/5m"] == len({p.slot.device_id for p in taken}) + 1
    assert after["fedaffect_fleet_requests_total//v1/device/200"] == 1
    assert after["fedaffect_fleet_audit_entries_total/round.committed"] == 2
    # Once counted is counted.
    assert figures()["fedaffect_fleet_rounds_total/committed"] == 2


def test_figures_of_a_round_with_all_kinds_of_ends(
    figures: Callable[[], Figures], grid: FleetGrid, registry: Registry
) -> None:
    del grid
    figures()
    config = {"rounds": 7, "dp": "central", "epsilon": 8.0}
    runs.create(registry, run_id="learn", config=config)
    lease = leases.acquire(registry, "learn", "test")
    ids = [device.id for device in devices.every(registry)][:4]
    opened = rounds.open_round(registry, lease, 1, selected=ids, base_sha256="0" * 64)
    participations.ask(registry, lease, 1, opened.attempt, ids)
    slots = [participations.Slot("learn", 1, opened.attempt, each) for each in ids]
    outcomes = [participations.Outcome(state=state, reason="x") for state in ("answered", "refused", "failed")]
    done = participations.settle_all(registry, lease, list(zip(slots, outcomes, strict=False)))
    assert [each.state for each in done if isinstance(each, participations.Participation)] == [
        "answered",
        "refused",
        "failed",
    ]
    twice = participations.Outcome(state="answered")
    participations.settle_all(registry, lease, [(slots[0], twice)])
    stray = participations.Slot("learn", 1, 9, ids[0])
    participations.settle_all(registry, lease, [(stray, twice)])
    found = figures()
    assert found["fedaffect_fleet_open_round_devices/asked"] == 1
    assert found["fedaffect_fleet_run_rounds_wanted/learn"] == 7
    assert found["fedaffect_fleet_run_epsilon_budget/learn"] == 8
    paid = privacy.Charge(
        run_id="learn",
        round=1,
        attempt=1,
        device_id="",
        unit="client",
        epsilon=2.5,
        delta=1e-5,
        accountant="rdp",
        noise_multiplier=1.0,
    )
    privacy.charge(registry, paid)
    rounds.commit(registry, lease, 1, opened.attempt, arrays_sha256="1" * 64, checkpoint="x")
    found = figures()
    outcomes_now = {k.rpartition("/")[2]: v for k, v in found.items() if k.startswith("fedaffect_fleet_updates_total")}
    assert outcomes_now == {"answered": 1, "refused": 1, "failed": 1, "no-answer": 1}
    refused = {k.rpartition("/")[2]: v for k, v in found.items() if k.startswith("fedaffect_fleet_updates_rejected_t")}
    assert (refused["duplicate"], refused["wrong-round"], refused["invalid"]) == (1, 1, 0)
    assert found["fedaffect_fleet_run_rounds_committed/learn"] == 1
    assert found["fedaffect_fleet_run_epsilon_spent/learn"] == 2.5
    assert found["fedaffect_fleet_open_round_devices/asked"] == 0


def test_no_label_names_a_device_or_a_callers_path(
    figures: Callable[[], Figures], ask: Callable[..., httpx.Response], grid: FleetGrid, registry: Registry
) -> None:
    del grid
    for path in ("/v1/device/bundles/secret-1", "/nobody/made/this", "/v1/devices/d0/revoke"):
        ask(path)
    said = " ".join(figures())
    assert "fedaffect_fleet_requests_total/other/404" in said
    for device in devices.every(registry):
        assert device.id not in said
        assert f"/{device.name}/" not in said
    assert "secret-1" not in said
    assert "/nobody" not in said


def test_who_asks_while_the_superlink_is_slow_keeps_nobody_else_waiting(
    fleet_folder: FleetFolder, registry: Registry
) -> None:
    slow, over = threading.Event(), threading.Event()

    class Slow(Reached):
        def nodes(self) -> dict[int, str]:
            slow.set()
            assert over.wait(60)
            return super().nodes()

    trust = _trust(fleet_folder)
    with (
        served(fleet_folder, registry, Slow()) as url,
        ThreadPoolExecutor(60) as pool,
        httpx.Client(base_url=url, verify=trust, timeout=60) as client,
    ):
        first = pool.submit(client.get, "/readyz")
        assert slow.wait(60)
        # More than the service has threads.
        others = [pool.submit(client.get, "/readyz") for _ in range(50)]
        assert {answer.result(60).status_code for answer in others} == {503}
        assert not first.done()
        over.set()
        assert first.result(60).status_code in (200, 503)
        assert "under way" not in client.get("/readyz").text
