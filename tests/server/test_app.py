import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from flwr.app import Context, RecordDict
from tests.support.in_process_grid import InProcessGrid

from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.server import app as server_app
from fedaffect.server.federation import preparers
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings, from_flwr, sections_by_name, to_flwr


def context(config: RunSettings, **more: Any) -> Context:
    settings = {key: value for key, value in to_flwr(config).items() if key != "engine"}
    return Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={**settings, **more})


def test_flowers_run_config_runs_and_resumes(cohort_folder: Path, config_of: Callable[..., RunSettings]) -> None:
    config = config_of(rounds=1)
    # Keys that nobody set come as empty strings.
    run = context(config, **{"cohort-folder": str(cohort_folder), "resume": "", "max-steps": ""})
    server_app.app(InProcessGrid(6), run)
    folder = RunFolder.open(config.output.out / "run")
    assert folder.summary()["rounds"] == 1
    assert folder.summary()["engine"] == "flower"
    # What another room registers under fedaffect.observers is told of the run.
    assert "<svg" in (folder.path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(RunError, match="exists already"):
        server_app.app(InProcessGrid(6), run)
    longer = context(config_of(rounds=2), **{"cohort-folder": str(cohort_folder), "resume": str(folder.path)})
    server_app.app(InProcessGrid(6), longer)
    assert folder.summary()["rounds"] == 2


# What starts the ServerApp of a fleet's run as Flower does, and says its number; that holds on to its life.
_STARTER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
time.sleep(600)
"""
_SERVERAPP = """
import signal, time
from flwr.app import Context, RecordDict
from fedaffect.server import app
from fedaffect.server.fleet.runs import run_runner

def lasting(*_):
    print("at work", flush=True)
    while True:
        time.sleep(1)

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)
run_runner.resume_run = lasting
app.main(None, Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={"fleet-run": "r"}))
"""


@pytest.mark.slow
def test_a_fleets_run_ends_with_the_process_that_started_it_however_that_ends() -> None:
    command = [sys.executable, "-c", _STARTER, _SERVERAPP]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, said = starter.stdout.readline().split(maxsplit=1)
        assert said == "at work\n"
        orphan = psutil.Process(int(pid))
        starter.kill()
    _, alive = psutil.wait_procs([orphan], timeout=120)
    try:
        assert [process.status() for process in alive] in ([], [psutil.STATUS_ZOMBIE])
    finally:
        with suppress(psutil.NoSuchProcess):
            orphan.kill()


def test_without_a_preparer_it_says_what_to_install(
    config_of: Callable[..., RunSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparers, "entry_points", lambda group: [])
    config = config_of()
    with pytest.raises(ConfigError, match=r"fedaffect\[simulation\]"):
        server_app.app(InProcessGrid(6), context(config))
    assert not (config.output.out / "run").exists()


def test_every_setting_can_be_given_to_flwr_run() -> None:
    # Flower refuses to override what pyproject.toml does not list.
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    listed = tomllib.loads(text)["tool"]["flwr"]["app"]["config"]
    settings = {name for name in listed if name not in ("cohort-folder", "resume", "overwrite")}
    ours = {"engine", "actors", "gpus-per-actor", "cohort-size", "ray-address"}
    federated = {name.replace("_", "-") for name, section in sections_by_name().items() if section != "fine_tuning"}
    assert settings == federated - ours
    # As it stands it fits the two nodes that Flower simulates.
    assert from_flwr({name: listed[name] for name in settings}).data.partition == "iid:2"
