"""A whole system by one command: page, predictions, a fleet with a device; it goes down cleanly and comes up again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from sqlalchemy import text
from tests.support.built_edge import BuiltEdge
from tests.support.whole_systems import takes_minutes

from fedaffect.edge.errors import ConfigError
from fedaffect.server.demo.machines import Machine, free_ports, wait_until
from fedaffect.server.demo.postgresql import OwnPostgresql
from fedaffect.server.registry import Registry, RegistryUnavailable

pytestmark = [pytest.mark.slow, pytest.mark.fleet]

FEDAFFECT = (sys.executable, "-c", "from fedaffect.edge.cli.main import main; main()")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, built_edge: BuiltEdge) -> Mapping[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {**os.environ, **built_edge.environment, "FEDAFFECT_DATA": str(home / "data"), "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def _no_cluster_stays(environment: Mapping[str, str]) -> Iterator[None]:
    yield
    # Root's lies elsewhere.
    with suppress(ConfigError):
        shutil.rmtree(OwnPostgresql(Path(environment["FEDAFFECT_DATA"]) / "system").folder, ignore_errors=True)


def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*FEDAFFECT, *arguments), env=environment, capture_output=True, text=True, check=False)


def left_over(environment: Mapping[str, str]) -> list[list[str]]:
    mine = [
        p.info["cmdline"]
        for p in psutil.process_iter(["cmdline", "environ"])
        if (p.info["environ"] or {}).get("FEDAFFECT_DATA", "").startswith(environment["FEDAFFECT_DATA"])
    ]
    return [command for command in mine if command]


@takes_minutes
def test_one_command_brings_up_a_system_and_another_ends_it(environment: Mapping[str, str]) -> None:
    rest, grpc = free_ports(2)
    ports = ("--rest-port", str(rest), "--grpc-port", str(grpc))
    done = run(environment, "up", "--detach", "--devices", "1", *ports, "--json")
    assert done.returncode == 0, done.stderr
    try:
        state = json.loads(done.stdout)
        page = httpx.get(state["page"])
        assert "text/html" in page.headers["content-type"]
        answer = httpx.post(state["rest"], json={"text": "What a lovely day!"}, timeout=60).json()
        assert answer["label"] == "joy"
        shown = run(environment, "fleet", "status", "--fleet", state["fleet"], "--json")
        (status,) = json.loads(shown.stdout)["devices"]
        assert status["name"] == "device-1"
        password = Path(state["password_file"])
        assert password.stat().st_mode & 0o077 == 0
        login = {"name": state["account"], "password": password.read_text(encoding="utf-8").strip()}
        with httpx.Client(base_url=state["page"], headers={"X-Fedaffect-Console": "1"}) as client:
            assert client.get("/v1/console/fleet").status_code == 401
            assert client.post("/v1/console/login", json=login).is_success
            assert client.get("/v1/console/fleet").is_success
        again = run(environment, "up", *ports)
        assert again.returncode == 2
        assert "is up in" in again.stderr
        assert "fedaffect down" in again.stderr
        if state["prometheus"]:
            assert figures_come_from(state["prometheus"], 2) == {"fedaffect-cloud", "fedaffect-fleet"}
            rules = httpx.get(f"{state['prometheus']}api/v1/rules").json()["data"]["groups"]
            assert "FleetServiceDown" in {rule["name"] for group in rules for rule in group["rules"]}
    finally:
        ended = run(environment, "down")
    assert ended.returncode == 0, ended.stderr
    assert left_over(environment) == []
    assert run(environment, "down").returncode == 2
    other = {"postgresql": "sqlite", "sqlite": "postgresql"}[state["database"]]
    refused = run(environment, "up", "--database", other, *ports)
    assert refused.returncode == 2
    assert f"began with {state['database']}" in refused.stderr
    # What it wrote is there, and it goes on from there. Killed, it leaves nothing behind.
    again = run(environment, "up", "--detach", "--devices", "0", *ports, "--json")
    assert again.returncode == 0, again.stderr
    state = json.loads(again.stdout)
    os.kill(state["pid"], signal.SIGKILL)
    until = time.monotonic() + 60
    while (left := left_over(environment)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def figures_come_from(prometheus: str, jobs: int) -> set[str]:
    """The jobs that it has got figures of; the first of them come after some seconds."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = httpx.get(f"{prometheus}api/v1/query", params={"query": "up == 1"}).json()["data"]["result"]
        if len(found) == jobs:
            break
        time.sleep(0.2)
    return {one["metric"]["job"] for one in found}


def test_a_port_that_is_taken_is_named_before_anything_starts(environment: Mapping[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(environment, "up", "--folder", str(tmp_path), "--rest-port", str(port))
    assert done.returncode == 2
    assert f"port {port}: cannot be listened at" in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_database_of_a_newer_version_is_named_before_anything_else_starts(
    environment: Mapping[str, str], tmp_path: Path
) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'registry.db'}") as registry, registry.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    ports = [
        argument
        for pair in zip(("--rest-port", "--grpc-port"), map(str, free_ports(2)), strict=True)
        for argument in pair
    ]
    done = run(environment, "up", "--folder", str(tmp_path), "--database", "sqlite", *ports)
    assert done.returncode == 2
    assert "made by another version of fedaffect" in done.stderr
    assert "starting the inference server" not in done.stderr
    assert not (tmp_path / "server" / "fleet").exists()


def test_its_own_postgresql_lets_this_user_in_by_a_socket_and_nobody_else(tmp_path: Path) -> None:
    try:
        own = OwnPostgresql(tmp_path)
    except ConfigError as error:
        pytest.skip(str(error))
    machine = Machine(tmp_path / "machine")
    try:
        own.make()
        machine.keeps(own.child)
        wait_until(lambda: opens(own.url), "PostgreSQL", machine.require_running)
        (server,) = [p for p in psutil.process_iter(["cmdline"]) if str(own.folder) in (p.info["cmdline"] or ())]
        kinds = {connection.family for connection in server.net_connections("inet")}
        assert kinds == set()
        if os.getuid() == 0 and shutil.which("psql") is not None:
            # Who owns the files may open the socket, and is still not the user that the database knows.
            owner = ("setpriv", "--reuid", server.username(), "--clear-groups", "--")
            asking = ("psql", "-h", str(own.folder), "-U", "fedaffect", "-c", "SELECT 1", "postgres")
            refused = subprocess.run((*owner, *asking), capture_output=True, text=True, check=False, cwd="/")
            assert "Peer authentication failed" in refused.stderr
    finally:
        machine.stop()
        assert not server.is_running()
        (own.folder / "data" / "PG_VERSION").write_text("99\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=r"is of PostgreSQL 99, and .* apt-get install postgresql-99"):
            OwnPostgresql(tmp_path)
        shutil.rmtree(own.folder)


def opens(url: str) -> bool:
    try:
        Registry.open(url).close()
    except RegistryUnavailable:
        return False
    return True
