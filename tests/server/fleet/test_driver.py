"""What the driver makes of Flower runs that end: carried on, or given up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.runs.driver import RunDriver
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, RegistryUnavailable, audit, leases, runs

RAISED, KILLED = "ServerApp failed with exception: no room", "No heartbeat received from the task"


class EndingRuns:
    """A SuperLink whose runs have all ended, in a way that is told; without one they run, by its books."""

    def __init__(self) -> None:
        self.details = ""
        self.started = 0
        self.stopped: list[int] = []

    def nodes(self) -> dict[int, str]:
        return {}

    def start(self, app: Path) -> int:
        self.started += 1
        return self.started

    def state(self, flower_run_id: int) -> tuple[str, str]:
        return ("finished:failed", self.details) if self.details else ("running", "")

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
