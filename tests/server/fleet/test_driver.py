"""What the driver makes of Flower runs that end: carried on, or given up."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.support.public_keys import public_key

from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.service import create_app
from fedaffect.server.fleet.auditing import Auditor
from fedaffect.server.fleet.failures import Failures
from fedaffect.server.fleet.runs.driver import RunDriver
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, RegistryUnavailable, audit, devices, leases, rounds, runs, tokens
from fedaffect.server.registry.errors import LeaseLost, RunConflict

RAISED, KILLED = "ServerApp failed with exception: no room", "No heartbeat received from the task"


class EndingRuns:
    """A SuperLink whose runs have all ended, in a way that is told; without one they run, by its books."""

    def __init__(self) -> None:
        self.details = ""
        self.started = 0
        self.stopped: list[int] = []
        # Of single ones.
        self.said: dict[int, str] = {}

    def nodes(self) -> dict[int, str]:
        return {}

    def start(self, app: Path) -> int:
        self.started += 1
        return self.started

    def state(self, flower_run_id: int) -> tuple[str, str]:
        if flower_run_id in self.stopped:
            return "finished:stopped", ""
        details = self.said.get(flower_run_id, self.details)
        return ("finished:failed", details) if details else ("running", "")

    def stop(self, flower_run_id: int) -> None:
        self.stopped.append(flower_run_id)


@pytest.mark.parametrize(("details", "goes_on"), [(RAISED, False), (KILLED, True)])
def test_a_run_whose_serverapp_raises_again_and_again_fails_and_one_that_is_killed_goes_on(
    details: str, goes_on: bool, tmp_path: Path
) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    superlink = EndingRuns()
    superlink.details = details
    with Registry.open(folder.settings.registry) as registry:
        runs.create(registry, run_id="run", config={"rounds": 1})
        driver = RunDriver(Aggregator(folder, registry, cast(SuperLink, superlink)))
        for _ in range(10):
            driver.look()
        run = runs.get(registry, "run")
    assert (run.state == "open") is goes_on
    assert superlink.started == (10 if goes_on else 5)
    assert goes_on or "no room" in run.reason


def test_a_run_whose_serverapp_was_killed_is_submitted_again_before_its_lease_runs_out(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    superlink = EndingRuns()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with Registry.open(folder.settings.registry) as registry:
        runs.create(registry, run_id="run", config={"rounds": 1})
        driver = RunDriver(Aggregator(folder, registry, cast(SuperLink, superlink)))
        driver.look()
        held = leases.acquire(registry, "run", f"{socket.gethostname()}:{os.getpid()}:x", seconds=3600)
        driver.look()
        assert (superlink.started, superlink.stopped) == (1, [])
        leases.release(registry, held)
        leases.acquire(registry, "run", f"{socket.gethostname()}:{gone.pid}:x", seconds=3600)
        driver.look()
        # The one that starts now is left alone.
        driver.look()
    assert (superlink.started, superlink.stopped) == (2, [1])


def test_a_serverapp_that_raised_is_not_stopped_before_flower_knows_why(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    superlink, now = EndingRuns(), [0.0]
    with Registry.open(folder.settings.registry) as registry:
        runs.create(registry, run_id="run", config={"rounds": 1})
        driver = RunDriver(Aggregator(folder, registry, cast(SuperLink, superlink)), lambda: now[0])
        for attempt in range(1, 6):
            driver.look()
            held = leases.acquire(registry, "run", "elsewhere:1:x", seconds=3600)
            driver.look()
            # It gives the lease back before its process has told Flower, which takes seconds on a busy machine.
            leases.release(registry, held)
            now[0] += 10
            driver.look()
            assert (superlink.started, superlink.stopped) == (attempt, [])
            superlink.said[attempt] = RAISED
            driver.look()
        run = runs.get(registry, "run")
    assert run.state == "failed"
    assert "no room" in run.reason


def test_a_run_that_somebody_stopped_with_flwr_stop_is_cancelled_and_not_submitted_again(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    superlink = EndingRuns()
    with Registry.open(folder.settings.registry) as registry:
        runs.create(registry, run_id="run", config={"rounds": 1})
        driver = RunDriver(Aggregator(folder, registry, cast(SuperLink, superlink)))
        driver.look()
        superlink.stop(1)
        driver.look()
        driver.look()
        run = runs.get(registry, "run")
    assert (run.state, run.reason) == ("cancelled", "it was stopped with flwr stop")
    assert superlink.started == 1


def test_a_run_that_was_stopped_while_no_service_was_there_is_cancelled_too(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    superlink = EndingRuns()
    with Registry.open(folder.settings.registry) as registry:
        aggregator = Aggregator(folder, registry, cast(SuperLink, superlink))
        runs.create(registry, run_id="run", config={"rounds": 1})
        RunDriver(aggregator).look()
        superlink.stop(1)
        RunDriver(aggregator).look()
        run = runs.get(registry, "run")
    assert (run.state, run.reason) == ("cancelled", "it was stopped with flwr stop")
    assert superlink.started == 1


def test_what_the_service_before_stopped_itself_is_submitted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    superlink = EndingRuns()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with Registry.open(folder.settings.registry) as registry:
        aggregator = Aggregator(folder, registry, cast(SuperLink, superlink))
        runs.create(registry, run_id="run", config={"rounds": 1})
        driver = RunDriver(aggregator)
        driver.look()
        leases.acquire(registry, "run", f"{socket.gethostname()}:{gone.pid}:x", seconds=3600)
        with monkeypatch.context() as patch:
            # It stops the Flower run of the killed process, and does not get to submit the next one.
            patch.setattr(EndingRuns, "start", lambda *_: (_ for _ in ()).throw(OSError("no room")))
            driver.look()
        assert superlink.stopped == [1]
        RunDriver(aggregator).look()
        assert runs.get(registry, "run").state == "open"
        audit.verify(registry)
    assert superlink.started == 2


def test_a_cancelled_run_counts_nothing_more_and_ends_at_flower_too(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    superlink = EndingRuns()
    with Registry.open(folder.settings.registry) as registry:
        runs.create(registry, run_id="run", config={"rounds": 1})
        aggregator = Aggregator(folder, registry, cast(SuperLink, superlink))
        driver = RunDriver(aggregator)
        driver.look()
        held = leases.acquire(registry, "run", "elsewhere:1:x", seconds=3600)
        rounds.open_round(registry, held, 1, selected=[], base_sha256="0" * 64)
        assert aggregator.cancel_run("run", "wrong settings")["state"] == "cancelled"
        assert superlink.stopped == [1]
        # Whoever carries it writes nothing more: no round, and no end of another kind.
        with pytest.raises(LeaseLost):
            rounds.commit(registry, held, 1, 1, arrays_sha256="1" * 64, checkpoint="x", metrics={})
        with pytest.raises(LeaseLost):
            runs.finish(registry, held)
        driver.look()
        assert superlink.started == 1
        assert runs.get(registry, "run").reason == "wrong settings"
        assert runs.cancel(registry, "run", reason="again").reason == "wrong settings"
        (line,) = audit.entries(registry, action="run.cancelled")
        assert line.subject == "run"
        runs.create(registry, run_id="done", config={})
        runs.finish(registry, leases.acquire(registry, "done", "a:1:x"))
        with pytest.raises(RunConflict, match="nothing to cancel"):
            runs.cancel(registry, "done", reason="late")


def test_a_service_whose_database_is_away_goes_on_and_the_audit_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    every = runs.every

    def away(*_: object) -> list[runs.Run]:
        raise RegistryUnavailable("the registry does not answer; try again")

    with Registry.open(folder.settings.registry) as registry:
        seconds = iter(range(100))
        driver = RunDriver(Aggregator(folder, registry, cast(SuperLink, EndingRuns())), lambda: float(next(seconds)))
        monkeypatch.setattr(runs, "every", away)
        assert not driver.look_again()
        assert not driver.look_again()
        monkeypatch.setattr(runs, "every", every)
        assert driver.look_again()
        assert driver.look_again()
        (line,) = audit.entries(registry, action="registry.was-away")
    assert line.actor == "service"


class Refusing(EndingRuns):
    """A SuperLink that does not get on with one device and one run."""

    def __init__(self) -> None:
        super().__init__()
        self.registered: list[str] = []
        self.apps: list[str] = []

    def register(self, public_key: str, name: str) -> int:
        if name == "odd":
            raise RuntimeError("no node of mine")
        self.registered.append(name)
        return len(self.registered)

    def start(self, app: Path) -> int:
        if app.name == "odd":
            raise OSError("Too many open files")
        self.apps.append(app.name)
        return super().start(app)


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[tuple[Aggregator, Refusing]]:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    superlink = Refusing()
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)
    with Registry.open(folder.settings.registry) as registry:
        for name in ("before", "odd", "then"):
            token = tokens.make_token(registry)
            devices.enroll(registry, token, name=name, public_key=public_key(name), capabilities=able, consent=True)
            runs.create(registry, run_id=name, config={"rounds": 1})
        yield Aggregator(folder, registry, cast(SuperLink, superlink)), superlink


def test_one_device_and_one_run_that_fail_do_not_stop_the_others(refusing: tuple[Aggregator, Refusing]) -> None:
    aggregator, superlink = refusing
    driver = RunDriver(aggregator)
    assert driver.look_again()
    assert superlink.registered == superlink.apps == ["before", "then"]
    state = driver.state()
    odd = next(device.id for device in devices.every(aggregator.registry) if device.name == "odd")
    assert state.failures == {f"device {odd}": "no node of mine", "run odd": "Too many open files"}
    assert state.failed == 2


def test_what_fails_again_and_again_is_tried_after_pauses_and_forgotten_once_it_works() -> None:
    now, tried = [0.0], []
    failures = Failures(lambda: now[0])

    def act() -> None:
        tried.append(now[0])
        if now[0] < 60:
            raise RuntimeError("not yet")

    while now[0] < 80:
        failures.attempt("odd", act)
        now[0] += 0.5
    failed = [at for at in tried if at < 60]
    assert 5 < len(failed) < 20
    assert not failures.now()
    assert failures.count == len(failed)


def test_a_driver_whose_thread_dies_is_started_again_and_status_says_so(
    refusing: tuple[Aggregator, Refusing], monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregator, superlink = refusing
    looks = iter((SystemExit("killed"), OSError("Too many open files")))
    look = RunDriver.look

    def dying(self: RunDriver) -> None:
        if (error := next(looks, None)) is not None:
            raise error
        look(self)

    monkeypatch.setattr(RunDriver, "look", dying)
    driver = RunDriver(aggregator)
    app = create_app(aggregator, Auditor(aggregator.folder.settings.registry), driver)
    assert _ask(app, "GET", "/readyz").status_code == 503
    driver.start()
    until = time.monotonic() + 300
    while superlink.apps != ["before", "then"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert _ask(app, "GET", "/readyz").json() == {"status": "ready"}
    said = _ask(app, "POST", "/v1/status", aggregator.folder.operator_token()).json()["driver"]
    assert (said["alive"], said["restarts"], said["problem"]) == (True, 2, "")
    assert said["failures"]["run odd"] == "Too many open files"
    driver.stop()


def test_a_driver_that_hangs_or_has_no_database_is_not_ready(refusing: tuple[Aggregator, Refusing]) -> None:
    state = RunDriver(refusing[0]).state()
    hung = replace(state, alive=True, looked_s_ago=1000.0)
    assert "looked at none for 1000 s" in hung.problem
    away = replace(state, alive=True, failures={"registry": "the registry does not answer"})
    assert away.problem == "the registry does not answer"
    assert replace(away, failures={"run odd": "no room"}).problem == ""


def _ask(app: Any, method: str, path: str, token: str = "") -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://fleet") as client:
            return await client.request(method, path, headers={"authorization": f"Bearer {token}"})

    return asyncio.run(ask())
