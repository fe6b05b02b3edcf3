"""What `fedaffect doctor` finds lacking, each time with the command that mends it."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from tests.support.fleet_runs import fleet_folder, registry
from tests.support.served import served

from fedaffect.edge.cli import findings
from fedaffect.edge.cli.doctor import doctor
from fedaffect.edge.system.files import write_private
from fedaffect.edge.system.findings import Finding, room
from fedaffect.server import checks
from fedaffect.server.checks import SOON
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry

__all__ = ["fleet_folder", "registry"]

Found = dict[str, dict[str, Any]]


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Found]]:
    # A bundle is found by its own tests; opening it here would take seconds.
    monkeypatch.setattr(findings, "bundle", lambda: Finding("bundle", "good", "version 1"))

    def run(*words: str) -> tuple[int, Found]:
        done = CliRunner().invoke(doctor, [*words, "--json"], catch_exceptions=False)
        said = json.loads(done.output)
        assert said["missing"] == sum(each["state"] == "missing" for each in said["findings"])
        return done.exit_code, {each["what"]: each for each in said["findings"]}

    return run


def test_a_machine_that_lacks_nothing(
    examine: Callable[..., tuple[int, Found]], fleet_folder: FleetFolder, registry: Registry
) -> None:
    code, found = examine("--role", "fleet", "--fleet", str(fleet_folder.path))
    ports = {what for what in found if what.startswith("port")}
    assert {"python", "packages", "memory", "media", "registry", "clock", "authority", "server certificate"} < set(
        found
    )
    assert len(ports) == 2
    assert code == any(found[what]["state"] == "missing" for what in ports)  # others may hold the usual ports
    assert {each["state"] for what, each in found.items() if what not in ports} <= {"good", "warning"}


def test_what_a_fleets_server_lacks(
    examine: Callable[..., tuple[int, Found]], fleet_folder: FleetFolder, registry: Registry
) -> None:
    with registry.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    fleet_folder.renew_certificate(days=SOON.days - 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        _set_port(fleet_folder, port)
        code, found = examine("--role", "fleet", "--fleet", str(fleet_folder.path))
    assert code == 1
    assert found["registry"]["state"] == found[f"port {port}"]["state"] == "missing"
    assert "revision 0001" in found["registry"]["says"]
    assert f"fuser {port}/tcp" in found[f"port {port}"]["mend"]
    assert found["server certificate"]["state"] == "warning"
    assert found["server certificate"]["mend"].startswith("renew it: fedaffect fleet rotate --certificate")
    fleet_folder.renew_certificate(days=-1)
    assert examine("--role", "fleet", "--fleet", str(fleet_folder.path))[1]["server certificate"]["state"] == "missing"


def test_our_own_server_is_known_at_its_port(
    examine: Callable[..., tuple[int, Found]], fleet_folder: FleetFolder, registry: Registry
) -> None:
    with served(fleet_folder, registry) as url:
        port = int(url.rpartition(":")[2])
        _set_port(fleet_folder, port)
        _, found = examine("--role", "fleet", "--fleet", str(fleet_folder.path))
    assert found[f"port {port}"]["says"] == "the service listens there already"


def test_a_fleet_or_database_that_is_not_there(examine: Callable[..., tuple[int, Found]], tmp_path: Path) -> None:
    code, found = examine("--role", "fleet", "--fleet", str(tmp_path))
    assert (code, found["fleet"]["mend"]) == (1, "fedaffect fleet init")
    away = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    code, found = examine("--role", "cloud", "--registry", away)
    assert (code, found["registry"]["state"]) == (1, "missing")


def test_clocks_that_are_apart(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(checks, "database_now", lambda _session: fast)
    found = {each.what: each for each in checks.database(registry.url.render_as_string(hide_password=False))}
    assert found["clock"].state == "missing"
    assert "3600 s apart" in found["clock"].says or "3599 s apart" in found["clock"].says


def test_a_gpu_that_was_asked_for_and_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert checks.gpu().state == checks.gpu("cuda:1").state == checks.gpu("gpu").state == "missing"
    assert checks.gpu("cpu").state == "good"


def test_packages_disk_and_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = findings.version

    def other(name: str) -> str:
        if name == "pillow":
            raise findings.PackageNotFoundError
        return "1.0" if name == "numpy" else real(name)

    monkeypatch.setattr(findings, "version", other)
    found = {each.what: each for each in findings.packages_of()}
    assert found["package pillow"].says == "is not installed"
    assert found["package numpy"].says.startswith("is 1.0, and")
    assert {each.state for what, each in found.items() if what.startswith("package ")} == {"missing"}
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    assert room(tmp_path / "not" / "there", "data").state == "missing"
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 1 kB\nMemAvailable:  1048576 kB\n")
    monkeypatch.setattr(findings, "_MEMINFO", meminfo)
    assert findings.memory(0.5).state == "good"
    assert findings.memory(2.0).state == "warning"


def test_servers_extras_hold_those_of_smaller_ones() -> None:
    names = {each.what for each in findings.packages_of("server")}
    assert names == {"packages"}
    assert int(next(findings.packages_of("simulation")).says.split()[0]) > int(
        next(findings.packages_of("server")).says.split()[0]
    )


def _set_port(folder: FleetFolder, port: int) -> None:
    settings = (folder.path / "fleet.toml").read_text()
    written = settings.replace(f"service-port = {folder.settings.service_port}", f"service-port = {port}")
    write_private(folder.path / "fleet.toml", written.encode(), replace=True)
