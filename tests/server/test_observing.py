"""Grafana beside a system: what it is told, whom it lets do what, and that it ends."""

from __future__ import annotations

import json
import os
import stat
import sys
from configparser import RawConfigParser
from pathlib import Path

import httpx
import pytest

from fedaffect.server.demo import observing
from fedaffect.server.demo.machines import Machine, free_ports, wait_until
from fedaffect.server.demo.observing import grafana, grafana_here

# Only how it is started, and that it ends: what Grafana makes of its settings, a test below asks a real one.
STAND_IN = f"""#!{sys.executable}
import sys
from configparser import RawConfigParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
command, _, home, _, config = sys.argv[1:]
assert command == "server" and (Path(home) / "conf" / "defaults.ini").exists()
told = RawConfigParser()
told.read(config)
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()
HTTPServer((told["server"]["http_addr"], int(told["server"]["http_port"])), Health).serve_forever()
"""


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).is_success
    except httpx.TransportError:
        return False


def test_it_is_started_with_our_settings_and_ends_with_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "grafana-11" / "bin" / "grafana"
    program.parent.mkdir(parents=True)
    program.write_text(STAND_IN, encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "grafana-11" / "conf").mkdir()
    (tmp_path / "grafana-11" / "conf" / "defaults.ini").touch()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert grafana_here() == str(program)
    machine, (port,) = Machine(tmp_path / "machine"), free_ports(1)
    machine.keeps(grafana(str(program), machine.folder, port, "http://127.0.0.1:1/"))
    url = f"http://127.0.0.1:{port}/api/health"
    wait_until(lambda: answers(url), "Grafana", machine.require_running)
    machine.stop()
    assert not answers(url)


def test_it_listens_here_alone_and_lets_people_look_only(tmp_path: Path) -> None:
    told = settings(tmp_path)
    assert (told["server"]["http_addr"], told["server"]["enforce_domain"]) == ("127.0.0.1", "true")
    assert dict(told["auth.anonymous"]) == {"enabled": "true", "org_role": "Viewer"}
    assert told["auth"]["disable_login_form"] == "true"
    assert told["auth.basic"]["enabled"] == told["users"]["allow_sign_up"] == "false"
    assert len(told["security"]["admin_password"]) > 20
    assert stat.S_IMODE((tmp_path / "grafana.ini").stat().st_mode) == 0o600
    assert set(told["analytics"].values()) == {"false"}


def test_its_dashboards_ask_the_prometheus_that_it_is_given(tmp_path: Path) -> None:
    told = settings(tmp_path)
    (source,) = provided(told, "datasources")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://127.0.0.1:9/", True)
    (provider,) = provided(told, "dashboards")["providers"]
    boards = {path.name for path in Path(provider["options"]["path"]).iterdir()}
    assert boards == {f"{name}.json" for name in ("cost", "fleet", "privacy", "serving", "simulation")}
    assert Path(told["dashboards"]["default_home_dashboard_path"]).is_file()


def test_an_installation_has_no_dashboards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "_DASHBOARDS", tmp_path / "none")
    told = settings(tmp_path)
    assert provided(told, "dashboards")["providers"] == []
    assert "dashboards" not in told


def settings(folder: Path) -> RawConfigParser:
    child = grafana("/opt/grafana/bin/grafana-server", folder, 3000, "http://127.0.0.1:9/")
    told = RawConfigParser()
    told.read(child.command[-1], encoding="utf-8")
    return told


def provided(told: RawConfigParser, kind: str) -> dict[str, list[dict[str, str]]]:
    path = Path(told["paths"]["provisioning"]) / kind / "fedaffect.yaml"
    found: dict[str, list[dict[str, str]]] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.slow
@pytest.mark.skipif(grafana_here() is None, reason="no Grafana is here, and Debian has none; see grafana.com")
def test_a_real_one_loads_every_dashboard_and_takes_no_change(tmp_path: Path) -> None:
    machine, (port,) = Machine(tmp_path / "machine"), free_ports(1)
    machine.keeps(grafana(str(grafana_here()), machine.folder, port, "http://127.0.0.1:1/"))
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(f"{url}/api/health"), "Grafana", machine.require_running)
        with httpx.Client(base_url=url, timeout=60) as viewer:
            boards = viewer.get("/api/search", params={"type": "dash-db"}).json()
            assert {board["uid"] for board in boards} == {
                f"fedaffect-{name}" for name in ("cost", "fleet", "privacy", "serving", "simulation")
            }
            for board in boards:
                assert viewer.get(f"/api/dashboards/uid/{board['uid']}").json()["dashboard"]["panels"]
            assert viewer.post("/api/dashboards/db", json={"dashboard": {"title": "mine"}}).status_code in {401, 403}
            assert viewer.get("/api/users", auth=("admin", "admin")).status_code in {401, 403}
    finally:
        machine.stop()
