"""The scripts and the package of examples/, run as a person runs them, on small synthetic data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.edge.conftest import make_bundle, tiny_bundle  # noqa: F401 - fixtures
from tests.support.whole_systems import takes_minutes

from fedaffect.edge.bundle import Manifest, SigningKey, sign
from fedaffect.edge.bundle.folder import default_bundle_path
from fedaffect.server.models.bundling.recipe import VERSION

pytestmark = [pytest.mark.slow, pytest.mark.ray]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def _encoders(make_bundle) -> None:  # noqa: F811
    """Tiny encoders where the scripts look for the bundle that takes a minute to build."""
    folder = default_bundle_path("edge")
    shutil.copytree(make_bundle(5), folder)
    replace(Manifest.read(folder), version=VERSION).write(folder)
    sign(folder, SigningKey.own())


def run(folder: Path, *command: object, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("_encoders")
def test_edge_prediction_says_what_it_left_out(tmp_path: Path) -> None:
    out = run(tmp_path, sys.executable, EXAMPLES / "edge_prediction.py")
    assert "from text" in out
    assert "note: audio left out: the sound is silent" in out
    assert "nothing to go by: audio: the sound is silent" in out


@pytest.mark.usefixtures("_encoders")
@pytest.mark.parametrize("role", ["tutor", "customer-service", "companion"])
def test_the_adaptive_app_answers_and_takes_what_is_said_of_it(tmp_path: Path, role: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "adaptive_app.py", role],
        input="i am so happy\n+\nso sad today\n-\n",
        env=os.environ | {"FEDAFFECT_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"{role} [") == 2


@takes_minutes
@pytest.mark.usefixtures("_encoders")
def test_compare_strategies_gives_a_line_a_strategy(tmp_path: Path) -> None:
    out = run(tmp_path, sys.executable, EXAMPLES / "compare_strategies.py", 1)
    assert "strategy=fedavg: UAR 0." in out
    assert "strategy=fedyogi: UAR 0." in out
    assert len(list(tmp_path.glob("runs/which-strategy/*/report.html"))) == 4


@pytest.mark.usefixtures("_encoders")
def test_own_strategy_runs_and_says_each_round(tmp_path: Path) -> None:
    out = run(tmp_path, sys.executable, EXAMPLES / "own_strategy.py", 2)
    assert "round 2: 8 clients" in out
    config = (tmp_path / "runs" / "cautious" / "config.toml").read_text()
    assert 'strategy = "@__main__.build"' in config


def test_the_plugin_package_runs_by_names_alone(tmp_path: Path) -> None:
    site = tmp_path / "site"
    # With the build backend of this environment, which needs no network.
    offline = ("--no-build-isolation", "--no-deps", "--no-index")
    command = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", str(site)]
    done = subprocess.run([*command, str(EXAMPLES / "plugin")], capture_output=True, text=True, check=False)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip(f"the package's build backend cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    names = ("--dataset", "notes", "--model", "mean", "--partition", "halves:4", "--strategy", "small-steps")
    small = ("--rounds", "2", "--clients-per-round", "2", "--actors", "1", "--name", "plugged", "--quiet")
    main = "from fedaffect.edge.cli.main import main; main()"
    run(tmp_path, sys.executable, "-c", main, "simulate", *names, *small, PYTHONPATH=str(site))
    folder = tmp_path / "runs" / "plugged"
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["clients"], summary["label_names"]) == (4, ["anger", "joy", "neutral", "sadness"])
    assert len((folder / "rounds.csv").read_text().splitlines()) == 3
