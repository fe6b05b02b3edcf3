from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fedaffect.edge.cli.main import main
from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.apps.project import Project

PYPROJECT = """
[project]
name = "small"
version = "1.0.0"
[tool.flwr.app]
publisher = "nobody"
[tool.flwr.app.components]
serverapp = "small_flower_server:app"
clientapp = "small_flower_client:app"
[tool.flwr.app.config]
fail = false
client.factor = 2
beyond = 0
[tool.flwr.federations]
default = "local"
[tool.flwr.federations.local]
options.num-supernodes = 3
options.backend.client-resources.num-cpus = 1
"""
CLIENT = """
from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from small_flower_own import doubled
app = ClientApp()
@app.query()
def answer(message, context):
    if context.run_config["fail"]:
        raise LookupError("a client's")
    value = doubled(context.node_config["partition-id"]) * context.run_config["client.factor"]
    return Message(RecordDict({"metrics": MetricRecord({"value": value})}), reply_to=message)
"""
SERVER = """
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()
@app.main()
def main(grid, context):
    nodes = [node + context.run_config["beyond"] for node in grid.get_node_ids()]
    replies = grid.send_and_receive([Message(RecordDict(), node, "query") for node in nodes])
    if not context.run_config["fail"]:
        print("values", [reply.content["metrics"]["value"] for reply in replies])
    assert context.run_config["client.factor"] < 9, "too much"
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "pyproject.toml": PYPROJECT,
        "small_flower_client.py": CLIENT,
        "small_flower_server.py": SERVER,
        "small_flower_own.py": "def doubled(value):\n    return 2 * value\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("small_flower")]:
        del sys.modules[name]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fedaffect", "run-app", *arguments])
    try:
        main()
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def test_a_project_folder_runs_unchanged(
    connected: None, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(project)) == 0
    assert "values [0, 4, 8]" in capsys.readouterr().out
    assert run(monkeypatch, str(project), "--clients", "2", "--run-config", "client.factor=3") == 0
    assert "values [0, 6]" in capsys.readouterr().out


def test_exit_codes_tell_the_truth(
    connected: None, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, str(project), "--run-config", "client.factor=9") == 2
    assert "error: AssertionError: too much" in capsys.readouterr().err
    assert run(monkeypatch, str(project), "--run-config", "fail=true") == 2
    assert "all 3 answers of clients were errors" in capsys.readouterr().err
    assert run(monkeypatch, str(project), "--run-config", "fail=true beyond=100") == 2
    assert "no client answered any of 3 messages" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "why"), [(["rounds=3"], "'rounds' is not present"), (["lr==3"], "--run-config takes TOML")]
)
def test_a_config_that_the_project_does_not_have(project: Path, overrides: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Project.read(project, overrides)


def test_a_folder_that_is_no_flower_app(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot find pyproject\.toml"):
        Project.read(project / "nowhere")
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(ConfigError, match=r"Missing \[tool\.flwr\.app\]"):
        Project.read(project)
    (project / "pyproject.toml").write_text(PYPROJECT.replace("server:app", "server:ServerApp"))
    with pytest.raises(ConfigError, match="is no ServerApp"):
        Project.read(project).load()
