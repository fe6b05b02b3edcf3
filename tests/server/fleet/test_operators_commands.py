"""What the operator's commands print, and how they get over a service that restarts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from tests.support.served import enrolled, served

from fedaffect.client.device.errors import DeviceRefusedError, ServiceAway
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.files import write_private
from fedaffect.server.cli import fleet_run
from fedaffect.server.cli import fleet_status as fleet_status_command
from fedaffect.server.cli.fleet import fleet
from fedaffect.server.fleet import bringing_up
from fedaffect.server.fleet.api.report import fleet_status
from fedaffect.server.fleet.errors import FleetError
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, leases, participations, rounds, runs
from fedaffect.server.registry.participations import Outcome, Slot


def test_init_names_a_next_command_that_finds_the_fleet(tmp_path: Path) -> None:
    path = tmp_path / "my fleet"
    said = CliRunner().invoke(fleet, ["init", "--fleet", str(path)])
    assert said.exit_code == 0, said.output
    last = said.output.splitlines()[-1].removeprefix("next: ")
    assert shlex.split(last) == ["fedaffect", "fleet", "up", "--fleet", str(path)]
    assert FleetFolder.open(Path(shlex.split(last)[-1])).settings.name == "fleet"


class Answering:
    """A SuperLink that has no node."""

    def nodes(self) -> dict[int, str]:
        return {}


def test_up_says_ready_only_when_both_processes_answer(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings(service_port=1))
    assert not bringing_up._answers(folder)
    with Registry.open(folder.settings.registry) as registry:
        # The gate takes connections before the SuperLink behind it answers.
        with served(folder, registry) as url:
            assert not bringing_up._answers(_at(folder, url))
        with served(folder, registry, cast(SuperLink, Answering())) as url:
            lines: list[str] = []
            bringing_up.say_when_ready(_at(folder, url), lines.append).join(timeout=60)
            assert lines[0] == f"ready: devices reach the fleet at {url}"
            assert lines[1].startswith("next: fedaffect fleet token")


def _at(folder: FleetFolder, url: str) -> FleetFolder:
    return FleetFolder(folder.path, FleetSettings(service_port=int(url.rpartition(":")[2])))


def test_status_says_why_devices_refused(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    with Registry.open(folder.settings.registry) as registry:
        device = enrolled(registry, folder, tmp_path / "device", "https://localhost:1").settings
        runs.create(registry, run_id="r", config={"rounds": 2})
        lease = leases.acquire(registry, "r", "somebody")
        attempt = rounds.open_round(registry, lease, 1, selected=[device.id], base_sha256="0" * 64)
        participations.ask(registry, lease, 1, attempt.attempt, [device.id])
        outcome = Outcome(state="refused", reason="it runs on its battery")
        participations.record_outcome(registry, lease, Slot("r", 1, attempt.attempt, device.id), outcome)
        (run,) = fleet_status(registry, {})["runs"]
        assert run["newest"] == {"refused": 1}
        assert run["reasons"] == {"it runs on its battery": 1}


class Restarting:
    """Answers as the service does: not at all at first, then as if nothing had been."""

    def __init__(self) -> None:
        self.answers: list[Any] = [
            FleetError("the fleet's service does not answer"),
            self._run("open", 1),
            FleetError("the fleet's service does not answer"),
            FleetError("the fleet's service does not answer"),
            self._run("finished", 2),
        ]

    def _run(self, state: str, committed: int) -> dict[str, Any]:
        return {"runs": [{"id": "r", "state": state, "committed": committed, "rounds": 2, "reason": ""}]}

    def post(self, _path: str) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_waiting_for_a_run_survives_a_restart_of_the_service(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fleet_run, "_LOOK_S", 0.0)
    operator: Any = Restarting()
    fleet_run._wait(operator, "r")
    said = capsys.readouterr()
    assert said.out.splitlines() == ["1 of 2 rounds", "2 of 2 rounds", "run r is finished"]
    assert said.err.count("waiting for it") == 2
    monkeypatch.setattr(fleet_run, "_UNREACHABLE_S", -1.0)
    with pytest.raises(FleetError):
        fleet_run._wait(Restarting(), "r")  # type: ignore[arg-type]


def test_an_enrolment_that_the_service_refuses_leaves_no_folder(tmp_path: Path) -> None:
    from fedaffect.client.device.enrolling import Capabilities, enroll
    from fedaffect.client.device.permission import LearningRules

    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    device = DeviceFolder(tmp_path / "device")
    request: dict[str, Any] = {
        "token": "fe_123456789012_" + 64 * "0",
        "authority": folder.authority.certificate_path,
        "name": "phone",
        "consent": True,
        "capabilities": Capabilities.here(),
        "rules": LearningRules(),
    }
    with pytest.raises(ServiceAway, match="cannot be reached"):
        enroll(device, server="https://127.0.0.1:1", **request)
    assert not device.path.exists()
    with Registry.open(folder.settings.registry) as registry, served(folder, registry) as url:
        with pytest.raises(DeviceRefusedError, match="not one of ours"):
            enroll(device, server=url, **request)
        assert not device.path.exists()
        # A folder that was there before stays.
        device.path.mkdir()
        with pytest.raises(DeviceRefusedError):
            enroll(device, server=url, **request)
        assert device.path.exists()


def test_a_run_is_cancelled_and_its_log_is_read_by_name(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    (folder.logs).mkdir(exist_ok=True)
    (folder.logs / "run-learn-1.log").write_text("one\ntwo\nthree\n")

    def say(*words: str) -> str:
        done = CliRunner().invoke(fleet, [*words, "--fleet", str(folder.path)])
        return done.output if done.exit_code == 0 else str(done.exception)

    with Registry.open(folder.settings.registry) as registry, served(folder, registry) as url:
        write_private(folder.path / "fleet.toml", _at(folder, url).settings.to_toml().encode(), replace=True)
        runs.create(registry, run_id="learn-1", config={"rounds": 2})
        assert say("cancel", "learn-1", "--reason", "wrong lr") == "run learn-1 is cancelled: wrong lr\n"
        assert "no run has the id" in say("cancel", "learn-2")
        operator: Any = Cancelled()
        with pytest.raises(RunError, match="run r is cancelled: enough"):
            fleet_run._wait(operator, "r")
    assert say("logs", "learn-1", "--lines", "2") == "two\nthree\n"
    assert "did you mean 'learn-1'?" in say("logs", "learn-2")
    assert "no run '../x' has begun here" in say("logs", "../x")
    assert "no run 'learn-1' has begun" in say("report", "learn-1")
    (folder.runs / "learn-1").mkdir(parents=True)
    assert "no report before it is finished" in say("report", "learn-1")
    (folder.runs / "learn-1" / "report.html").write_text("")
    assert say("report", "learn-1") == f"{folder.runs / 'learn-1' / 'report.html'}\n"


class Cancelled:
    """Answers as the service does of a run that somebody cancelled."""

    def post(self, _path: str) -> Any:
        return {"runs": [{"id": "r", "state": "cancelled", "committed": 0, "rounds": 2, "reason": "enough"}]}


def test_commands_answer_in_json(tmp_path: Path) -> None:
    path = tmp_path / "fleet"

    def said(*words: str) -> Any:
        done = CliRunner().invoke(fleet, [*words, "--fleet", str(path), "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    made = said("init", "--name", "ward")
    assert (made["name"], made["path"]) == ("ward", str(path))
    folder = FleetFolder.open(path)
    assert set(said("rotate", "--certificate")) == {"certificate_until"}
    (folder.logs).mkdir()
    (folder.logs / "run-r.log").write_text("one\ntwo\n")
    assert said("logs", "r", "--lines", "1")["lines"] == ["two"]
    (folder.runs / "r").mkdir(parents=True)
    (folder.runs / "r" / "report.html").write_text("")
    assert said("report", "r")["page"] == str(folder.runs / "r" / "report.html")
    with Registry.open(folder.settings.registry) as registry, served(folder, registry) as url:
        write_private(folder.path / "fleet.toml", _at(folder, url).settings.to_toml().encode(), replace=True)
        runs.create(registry, run_id="r", config={"rounds": 2})
        assert said("status")["runs"][0]["id"] == "r"
        assert said("cancel", "r") == {"run": "r", "state": "cancelled", "reason": "the operator cancelled it"}
        enrolled(registry, folder, tmp_path / "device", "https://localhost:1")
        device = said("revoke", "phone")["device_id"]
        key = str(folder.authority.key_path)
        assert said("certify", "--key", key, "--yes") == {"days": 30.0, "devices": []}
        assert [d["id"] for d in said("devices", "list", "--revoked")["devices"]] == [device]


def test_status_is_shown_again_and_again_and_gets_over_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    looks = 0

    def look(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt

    with Registry.open(folder.settings.registry) as registry:
        with served(folder, registry) as url:
            write_private(folder.path / "fleet.toml", _at(folder, url).settings.to_toml().encode(), replace=True)
            enrolled(registry, folder, tmp_path / "device", url)
            monkeypatch.setattr(fleet_status_command, "sleep", look)
            watched = CliRunner().invoke(fleet, ["status", "--watch", "--fleet", str(folder.path), "--json"])
            assert [json.loads(line)["devices"][0]["name"] for line in watched.stdout.splitlines()] == 3 * ["phone"]
            assert watched.exit_code == 0
        looks = 2
        watched = CliRunner().invoke(fleet, ["status", "--watch", "--fleet", str(folder.path)])
        assert "does not answer" in watched.output
        assert "waiting for it" in watched.output


def test_a_table_of_a_thousand_devices_stays_a_screen() -> None:
    device = {"name": "d", "id": "i", "group": "", "modalities": ["text"], "memory_mb": 1, "cores": 1}
    states = [{"status": "waiting", "online": False}] * 40 + [{"status": "enrolled", "online": True}] * 960
    table = fleet_status_command._devices([{**device, "consent": True, "epsilon": None, **state} for state in states])
    assert str(table.title) == "Devices: 960 online, 40 waiting"
    assert table.row_count == 50
    assert str(table.caption) == "and 950 more: fedaffect fleet devices list"


def test_init_if_missing_leaves_a_fleet_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "fleet"
    made = ["init", "--if-missing", "--fleet", str(path), "--host", "fleet.example.org"]
    assert CliRunner().invoke(fleet, made).exit_code == 0
    before = {each: each.read_bytes() for each in path.rglob("*.pem")}
    assert before
    again = CliRunner().invoke(fleet, [*made, "--service-port", "9999", "--json"])
    assert again.exit_code == 0
    assert json.loads(again.output) == {"name": "fleet", "path": str(path)}
    assert {each: each.read_bytes() for each in path.rglob("*.pem")} == before
    assert FleetFolder.open(path).settings.service_port == 9441
    assert isinstance(CliRunner().invoke(fleet, ["init", "--fleet", str(path)]).exception, RunError)
