"""A whole system by one command: page, predictions, a fleet with a device; it goes down cleanly and comes up again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil
import pytest
from tests.support.built_edge import BuiltEdge

from fedaffect.server.demo.machines import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.fleet]

FEDAFFECT = (sys.executable, "-c", "from fedaffect.edge.cli.main import main; main()")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, built_edge: BuiltEdge) -> Mapping[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {**os.environ, **built_edge.environment, "FEDAFFECT_DATA": str(home / "data"), "OMP_NUM_THREADS": "1"}


def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*FEDAFFECT, *arguments), env=environment, capture_output=True, text=True, check=False)


def left_over(environment: Mapping[str, str]) -> list[list[str]]:
    mine = [
        p.info["cmdline"]
        for p in psutil.process_iter(["cmdline", "environ"])
        if (p.info["environ"] or {}).get("FEDAFFECT_DATA", "").startswith(environment["FEDAFFECT_DATA"])
    ]
    return [command for command in mine if command]


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
    finally:
        ended = run(environment, "down")
    assert ended.returncode == 0, ended.stderr
    assert left_over(environment) == []
    assert run(environment, "down").returncode == 2
    # What it wrote is there, and it goes on from there.
    again = run(environment, "up", "--detach", "--devices", "0", *ports)
    try:
        assert again.returncode == 0, again.stderr
    finally:
        assert run(environment, "down").returncode == 0


def test_a_port_that_is_taken_is_named_before_anything_starts(environment: Mapping[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(environment, "up", "--folder", str(tmp_path), "--rest-port", str(port))
    assert done.returncode == 2
    assert f"port {port} cannot be listened at" in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
