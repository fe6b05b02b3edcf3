"""The fleet as pages see it: a federation's rounds as they are committed, and what operators do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flwr.app import Error, Message
from sqlalchemy import text
from tests.support.console_pages import PASSWORD, ConsolePage, Told, refusal
from tests.support.fleet_runs import CLIENTS, Fleet, FleetGrid
from tests.support.public_keys import public_key
from tests.support.small_engine import SmallEngine

from fedaffect.client.wire import REFUSED
from fedaffect.server.console.mounting import console_beside
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, audit, bundles, devices, groups, models, rollouts, tokens, users
from fedaffect.server.serving.app import CloudServer, background

AFleet = Callable[..., Fleet]


@pytest.fixture
def server(registry: Registry, fleet_folder: FleetFolder, tmp_path: Path) -> Iterator[CloudServer]:
    """Its accounts lie in a registry of its own, as of a server that was there before the fleet."""
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as own:
        users.add(own, "ada", "operator", PASSWORD)
        users.add(own, "vera", "viewer", PASSWORD)
        beside = console_beside(tmp_path / "runs", fleet=fleet_folder)
        with background(SmallEngine(), registry=own, mounting=beside) as up:
            yield up


@pytest.fixture
def page(server: CloudServer) -> Iterator[ConsolePage]:
    with ConsolePage(server.rest_url) as opened:
        opened.log_in("ada")
        yield opened


def until(events: Iterator[Told], found: Callable[[Told], bool]) -> list[Told]:
    told = []
    for event in events:
        told.append(event)
        if found(event):
            return told
    raise AssertionError(f"the stream ended after {[each.kind for each in told]}")


def action(event: Told) -> str:
    return str(event.data.get("entry", {}).get("action", ""))


def test_rounds_are_told_as_they_are_committed(
    page: ConsolePage, a_fleet: AFleet, grid: FleetGrid, registry: Registry
) -> None:
    def refuses(partition: int, message: Message, reply: Message) -> Message | None:
        if partition == 1:
            return Message(Error(REFUSED, "it is on its battery"), reply_to=message)
        return None if partition == 2 else reply

    grid.change = refuses
    fleet = a_fleet(rounds=2, clients_per_round=CLIENTS, round_timeout_s=1, max_failed_share=1.0)
    groups.set_labels(registry, ["d0"], add=["tablet"])
    carried = threading.Thread(target=fleet.resume, args=(grid,))
    with page.events("/fleet/events") as events:
        assert next(events).kind == "open"
        carried.start()
        told = until(events, lambda event: action(event) == "run.finished")
    carried.join()
    committed = [event for event in told if action(event) == "round.committed"]
    assert [event.data["round"]["round"] for event in committed] == [1, 2]
    assert [event.id for event in told if event.id] == sorted(event.id for event in told if event.id)
    last = committed[-1].data
    assert last["run"] == fleet.id
    assert last["round"]["devices"] == {"answered": 4, "refused": 1, "failed": 1}
    assert last["round"]["reasons"]["it is on its battery"] == 1
    assert last["round"]["train_loss"] > 0
    assert last["round"]["bytes_up"] > 1000

    detail = page.get(f"/fleet/runs/{fleet.id}").json()
    assert [each["state"] for each in detail["rounds"]] == ["committed", "committed"]
    assert detail["rounds"][-1] == last["round"]
    assert detail["run"]["committed"] == 2
    who = page.get(f"/fleet/runs/{fleet.id}/rounds/2/1").json()["participants"]
    by_name = {each["name"]: each for each in who}
    assert by_name["d0"]["labels"] == ["tablet"]
    assert by_name["d1"]["state"] == "refused"
    assert by_name["d1"]["reason"] == "it is on its battery"
    assert by_name["d2"]["state"] == "failed"

    # Who comes back is told what it missed, and nothing twice.
    second = next(event.id for event in told if event is committed[0])
    with page.events("/fleet/events", last=second) as events:
        missed = until(events, lambda event: action(event) == "run.finished")
    first = [event for event in told if event.id and event.id > (second or 0)]
    assert [(e.id, e.data["entry"]) for e in missed if e.id] == [(e.id, e.data["entry"]) for e in first]
    with page.events("/fleet/events", last=10**9) as events:
        assert [next(events).kind, next(events).kind] == ["open", "refresh"]


def test_what_devices_hold_is_nowhere_on_the_page(
    page: ConsolePage, a_fleet: AFleet, grid: FleetGrid, registry: Registry, cohort_folder: Path
) -> None:
    fleet = a_fleet(rounds=1, clients_per_round=3)
    fleet.resume(grid)
    said = [page.get("/fleet"), page.get(f"/fleet/runs/{fleet.id}"), page.get(f"/fleet/runs/{fleet.id}/rounds/1/1")]
    said.append(page.get("/audit", limit=200))
    whole = "".join(reply.text for reply in said)
    assert "d0" in whole
    # No key, no secret, no number of examples, no path of arrays or of the cohort.
    for device in devices.every(registry):
        assert device.public_key.split()[1] not in whole
    for word in ("secret", "token_id", 'examples"', "safetensors", str(cohort_folder), "password", "node_id"):
        assert word not in whole, word


def test_devices_are_approved_and_refused_by_name_of_who_did_it(page: ConsolePage, registry: Registry) -> None:
    token = tokens.make_token(registry, valid=timedelta(hours=1), uses=3, approval=True)
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    for name in ("phone", "tablet", "watch"):
        devices.enroll(registry, token, name=name, public_key=public_key(name), capabilities=able, consent=True)
    waiting = [each for each in page.get("/fleet").json()["devices"] if each["status"] == "waiting"]
    assert [each["name"] for each in waiting] == ["phone", "tablet", "watch"]
    assert page.post("/devices/approve", {"devices": [waiting[0]["id"]]}).json() == {"done": "approved: phone"}
    assert page.post("/devices/refuse", {"device": waiting[1]["id"], "reason": "not ours"}).status_code == 200
    states = {each["name"]: each["status"] for each in page.get("/fleet").json()["devices"]}
    assert states == {"phone": "enrolled", "tablet": "revoked", "watch": "waiting"}
    told = {entry.action: entry for entry in audit.entries(registry, action="device.")}
    assert told["device.approved"].actor == told["device.revoked"].actor == "user:ada"
    assert json.loads(told["device.revoked"].details)["reason"] == "not ours"
    assert page.post("/devices/approve", {"devices": ["tablet"]}).status_code == 422
    audit.verify(registry)


def test_a_bundle_is_promoted_and_taken_back(page: ConsolePage, registry: Registry, tmp_path: Path) -> None:
    for number, version in enumerate(("one", "two")):
        tar = tmp_path / f"{version}.tar"
        tar.write_bytes(b"tar")
        bundles.add(registry, version=version, path=tar, sha256=f"{number}" * 64, size_bytes=3)
    models.add(
        registry,
        version="two",
        profile="edge",
        path=tmp_path / "two.tar",
        label_set="shared4",
        sha256="1" * 64,
        lineage={"before": "one", "guard": {"ravdess": [0.714, 0.709]}},
        epsilon=1.5,
    )
    assert page.post("/rollouts/promote", {"version": "one"}).json()["done"] == "one is staged at 100 % of devices"
    page.post("/rollouts/promote", {"version": "two", "percent": 10.0})
    conflict = page.post("/rollouts/promote", {"version": "two", "percent": 5.0})
    assert refusal(conflict) == (409, "Conflict")
    assert "10 % of devices already" in conflict.json()["error"]["message"]
    shown = page.get("/fleet").json()
    assert [(r["version"], r["state"], r["percent"]) for r in shown["rollouts"]] == [
        ("two", "staged", 10.0),
        ("one", "complete", 100.0),
    ]
    two = next(each for each in shown["bundles"] if each["version"] == "two")
    assert (two["before"], two["guard"], two["epsilon"]) == ("one", {"ravdess": [0.714, 0.709]}, 1.5)
    assert page.post("/rollouts/back", {"reason": "devices get slow"}).status_code == 200
    assert rollouts.every(registry)[0].state == "rolled-back"
    (back,) = audit.entries(registry, action="rollout.rolled-back")
    assert back.actor == "user:ada"


def test_the_audit_log_is_read_in_pages_and_checked(page: ConsolePage, registry: Registry) -> None:
    for number in range(5):
        audit.write(registry, "thing.happened", subject=f"thing/{number}", actor="operator", what="x" * 5_000)
    first = page.get("/audit", action="thing", limit=3).json()
    assert first["logs"] == ["fleet", "server"]
    assert [each["subject"] for each in first["entries"]] == ["thing/4", "thing/3", "thing/2"]
    assert len(first["entries"][0]["details"]["what"]) < 1_000
    rest = page.get("/audit", action="thing", limit=3, before=first["entries"][-1]["id"]).json()
    assert [each["subject"] for each in rest["entries"]] == ["thing/1", "thing/0"]
    assert {each["action"] for each in page.get("/audit", log="server").json()["entries"]} >= {"user.added"}
    assert page.get("/audit", log="other").status_code == 404

    assert page.get("/audit/check").json()["unchanged"] is True
    assert page.get("/audit/check", expected=first["head"]).json()["unchanged"] is True
    assert page.get("/audit/check", expected=f"1:{'0' * 64}").json()["unchanged"] is False
    assert page.get("/audit/check", expected="no head").status_code == 422
    with registry.writing() as session:
        session.execute(text("DROP TRIGGER audit_log_update"))
        session.execute(text("UPDATE audit_log SET actor = 'nobody' WHERE subject = 'thing/2'"))
    found = page.get("/audit/check").json()
    assert found["unchanged"] is False
    assert "thing.happened" in found["problem"]


def test_a_run_that_is_not_there(page: ConsolePage) -> None:
    assert refusal(page.get("/fleet/runs/none")) == (404, "NotFound")
    assert refusal(page.get("/fleet/runs/none/rounds/1/1")) == (404, "NotFound")
    assert page.get("/fleet/runs/none/rounds/0/1").status_code == 422


def test_streams_are_bounded(page: ConsolePage, server: CloudServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedaffect.server.console.streaming._MOST", 1)
    with page.events("/fleet/events") as events:
        assert next(events).kind == "open"
        assert refusal(page.get("/fleet/events")) == (429, "Overloaded")
