"""Dashboards and alerts against what the processes really expose, and against Prometheus' own tools where they are."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.fleet_runs import fleet_folder, registry
from tests.support.served import enrolled, served
from tests.support.small_engine import SmallEngine

from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.server.demo.machines import wait_until
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.runs.driver import RunDriver
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.setup.private_socket import heard_at, tell_at
from fedaffect.server.fleet.superlink.gate import REASONS
from fedaffect.server.fleet.superlink.gate_metrics import GateMetrics
from fedaffect.server.flower_compat.control import SuperLink
from fedaffect.server.registry import Registry, bundles, leases, privacy, rollouts, rounds, runs
from fedaffect.server.serving.app import background
from fedaffect.simulation.textfile import VARIABLE, TextfileObserver

__all__ = ["fleet_folder", "registry"]

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "deploy" / "observability"
PROMTOOL: Final = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: apt-get install prometheus")

# Prometheus makes these itself: of each target, and by `honor_labels`.
OF_PROMETHEUS: Final = {"job", "instance"}
SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
Labels = dict[str, dict[str, set[str]]]


@cache
def _rules() -> list[dict[str, Any]]:
    import yaml

    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _queries() -> dict[str, str]:
    """Every query, by where it stands; variables of Grafana as it fills them in."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in _rules()}
    for path in sorted((FOLDER / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                expr = target["expr"].replace("$__rate_interval", "1m")
                expr = re.sub(r'"\$(run|simulation)"', '".*"', expr)
                found[f"{path.stem}: {panel['title']} {target['refId']}"] = re.sub(r"\$[a-z_]+", "1", expr)
    return found


def _exposed(text: str, found: Labels) -> None:
    for family in text_string_to_metric_families(text):
        # A family without samples has a name, as it tells something only now and then.
        for suffix in SUFFIXES.get(family.type, ("",)):
            found.setdefault(family.name + suffix, {})
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)


class Reached(SuperLink):
    def __init__(self) -> None: ...

    def nodes(self) -> dict[int, str]:
        return {1: "online"}


@pytest.fixture
def of_fleet(fleet_folder: FleetFolder, registry: Registry, tmp_path: Path) -> Labels:
    """What the fleet's service tells, with an open run, a staged bundle and a device that checked in."""
    superlink = Reached()
    driver = RunDriver(Aggregator(fleet_folder, registry, superlink))
    runs.create(registry, run_id="learn", config={"rounds": 3, "dp": "central", "epsilon": 8.0})
    lease = leases.acquire(registry, "learn", "test")
    found: Labels = {}
    with served(fleet_folder, registry, superlink, driver) as url:
        device = enrolled(registry, fleet_folder, tmp_path / "phone", url)
        key = DeviceKey.read(device.key_path)
        with FleetService(url, device.authority_path, key, device.settings.id) as service:
            service.post("/v1/device", {"consent": True})
        opened = rounds.open_round(registry, lease, 1, selected=[device.settings.id], base_sha256="0" * 64)
        for who in ("", device.settings.id):
            paid = privacy.Charge(
                run_id="learn",
                round=1,
                attempt=1,
                device_id=who,
                unit="client",
                epsilon=1.0,
                delta=1e-5,
                accountant="rdp",
                noise_multiplier=1.0,
            )
            privacy.charge(registry, paid)
        rounds.commit(registry, lease, 1, opened.attempt, arrays_sha256="1" * 64, checkpoint="x")
        gate = GateMetrics(REASONS)
        with gate.request(b"/v1/fleet/pull-messages") as answered:
            answered.status = 503
        tell_at(fleet_folder.gate_figures, gate.text)
        tar = tmp_path / "bundle.tar"
        tar.write_bytes(b"x")
        bundles.add(registry, version="v1", path=tar, sha256="2" * 64, size_bytes=1)
        rollouts.stage(registry, "v1", 50)
        trust = ssl.create_default_context(cafile=fleet_folder.authority.certificate_path)
        headers = {"authorization": f"Bearer {fleet_folder.operator_token()}"}
        wait_until(lambda: heard_at(fleet_folder.gate_figures) is not None, "the gate's figures", lambda: None)
        _exposed(httpx.get(f"{url}/metrics", verify=trust, headers=headers, timeout=60).text, found)
    return found


@pytest.fixture
def of_cloud() -> Labels:
    """What the inference server tells after a prediction that was answered, and one that was refused."""
    found: Labels = {}
    with background(SmallEngine()) as cloud:
        assert httpx.post(f"{cloud.rest_url}/v1/predict", json={"text": "well"}, timeout=60).status_code == 200
        assert httpx.post(f"{cloud.rest_url}/v1/predict", json={}, timeout=60).status_code == 422
        _exposed(httpx.get(f"{cloud.rest_url}/metrics", timeout=60).text, found)
    return found


@pytest.fixture
def of_simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Labels]:
    """What a run writes for the textfile collector."""
    folder = tmp_path / "textfiles"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    (observer,) = TextfileObserver.wanted()
    config = RunSettings.of(name="demo", dp="central", epsilon=8.0)
    observer.started(config, None, 1000)  # type: ignore[arg-type]
    record = RoundRecord(
        round=1,
        clients=4,
        failures=0,
        train_loss=1.0,
        lr=0.1,
        dev={"uar": 0.5, "loss": 1.0},
        updates_per_second=3.0,
        bytes_up=10,
        bytes_down=20,
        train_seconds=1.0,
        seconds=2.0,
        elapsed_s=2.0,
        eta_s=2.0,
        privacy={"epsilon": 1.0},
    )
    observer.round_finished(record)
    observer.finished({})
    found: Labels = {}
    _exposed((folder / "fedaffect-demo.prom").read_text(encoding="utf-8"), found)
    return found


def test_each_metric_and_label_that_is_asked_for_is_exposed(
    of_fleet: Labels, of_cloud: Labels, of_simulation: Labels
) -> None:
    exposed = {**of_simulation, **of_cloud, **of_fleet, "up": {}}
    wrong = []
    for where, query in _queries().items():
        names = set(re.findall(r"\b(?:fedaffect_\w+|process_\w+|up\b)", re.sub(r"\{[^}]*\}", "", query)))
        assert names, where
        wrong += [f"{where}: no {name}" for name in sorted(names) if name not in exposed]
        for name, said in re.findall(r"\b(fedaffect_\w+|process_\w+|up)\{([^}]*)\}", query):
            for label, operator, value in re.findall(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"', said):
                have = exposed.get(name, {})
                if label in OF_PROMETHEUS:
                    continue
                if label not in have:
                    wrong.append(f"{where}: {name} has no label {label}")
                # What has a closed set of values shows all of them from the start.
                elif operator == "=" and label in CLOSED.get(name, ()) and value not in have[label]:
                    wrong.append(f"{where}: {name} has no {label} {value!r}, but {sorted(have[label])}")
    assert not wrong, "\n".join(wrong)


CLOSED: Final = {
    "fedaffect_fleet_rounds_total": ("outcome",),
    "fedaffect_fleet_updates_total": ("outcome",),
    "fedaffect_fleet_devices": ("status",),
    "fedaffect_fleet_devices_heard": ("within",),
    "fedaffect_fleet_runs": ("state",),
    "fedaffect_fleet_up": ("part",),
    "fedaffect_fleet_update_bytes_total": ("direction",),
    "fedaffect_fleet_requests_total": ("route",),
    "fedaffect_gate_refused_total": ("reason",),
}


def test_dashboards_are_what_their_source_makes() -> None:
    spec = importlib.util.spec_from_file_location("make_dashboards", ROOT / "scripts" / "make_dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    made = source.made()
    assert {p.name: p.read_text(encoding="utf-8") for p in (FOLDER / "dashboards").iterdir()} == made
    for name, text in made.items():
        boards = json.loads(text)
        spots = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in boards["panels"]]
        assert len(set(spots)) == len(spots), name
        assert len({panel["id"] for panel in boards["panels"]}) == len(spots)
        used = set(re.findall(r"\$\{?([a-z_]+)", json.dumps(boards["panels"]))) - {"__rate_interval"}
        assert used == {variable["name"] for variable in boards["templating"]["list"]}, name


def test_each_alert_has_its_page() -> None:
    pages = {rule["annotations"]["runbook_url"] for rule in _rules()}
    assert pages == {f"docs/runbooks/{path.name}" for path in (ROOT / "docs" / "runbooks").iterdir()}
    for rule in _rules():
        assert rule["labels"]["severity"] in ("critical", "warning")


@needs_promtool
def test_prometheus_reads_its_settings_and_the_alerts_fire_when_they_should(tmp_path: Path) -> None:
    copy = shutil.copytree(FOLDER, tmp_path / "observability")
    for name in ("fleet.token", "cloud.token", "fleet-ca.pem"):
        (copy / "secrets").mkdir(exist_ok=True)
        (copy / "secrets" / name).write_text("x")
    _promtool(copy, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    _promtool(copy, "test", "rules", "alerts_test.yml")
    tested = (copy / "alerts_test.yml").read_text(encoding="utf-8")
    for rule in _rules():
        fires = re.compile(rf"alertname: {rule['alert']}\s+exp_alerts:")
        assert fires.search(tested), f"no test makes {rule['alert']} fire"
        assert f"alertname: {rule['alert']}}}" in tested, f"no test keeps {rule['alert']} quiet"


@needs_promtool
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": expr} for number, expr in enumerate(_queries().values())]
    (tmp_path / "queries.yml").write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    _promtool(tmp_path, "check", "rules", "queries.yml")


def _promtool(folder: Path, *words: str) -> None:
    done = subprocess.run((str(PROMTOOL), *words), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
