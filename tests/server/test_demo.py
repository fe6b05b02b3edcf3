"""The circle as a person starts it: real processes on constructed people, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from tests.support.built_edge import BuiltEdge
from tests.support.whole_systems import takes_minutes

FEDAFFECT = (sys.executable, "-c", "from fedaffect.edge.cli.main import main; main()")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Of a user who has built nothing yet."""
    home = tmp_path_factory.mktemp("home")
    (home / "tmp").mkdir()
    places = {f"FEDAFFECT_{kind}": str(home / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA")}
    return {**os.environ, **places, "TMPDIR": str(home / "tmp"), "OMP_NUM_THREADS": "1"}


def run(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((*FEDAFFECT, *arguments), env=environment, capture_output=True, text=True, check=False)


def test_without_a_bundle_it_says_how_to_get_one(environment: Mapping[str, str]) -> None:
    done = run(environment, "demo", "circle")
    assert done.returncode == 2
    assert "fedaffect bundle build" in done.stderr
    assert not list(Path(environment["TMPDIR"]).iterdir())


@takes_minutes
def test_what_two_people_correct_is_answered_right_on_three_devices(
    environment: Mapping[str, str], built_edge: BuiltEdge
) -> None:
    done = run({**environment, **built_edge.environment}, "demo", "circle")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    people = {row[0]: row for row in rows if row and row[0] in ("ana", "ben", "cleo")}
    assert people["ana"][-3:-1] == people["ben"][-3:-1] == ["15", "anger"]
    assert {row[-1] for row in people.values()} == {people["ana"][-1]}, "all have the same bundle"
    assert "constructed people" in done.stdout
    assert not list(Path(environment["TMPDIR"]).iterdir())
    left = [p.info["pid"] for p in psutil.process_iter(["pid", "environ"]) if _is_of(p.info["environ"], environment)]
    assert not left


def _is_of(own: Mapping[str, str] | None, environment: Mapping[str, str]) -> bool:
    return bool(own) and str(own.get("FEDAFFECT_DATA", "")).startswith(environment["TMPDIR"])


def test_a_folder_that_is_there_is_left_alone(environment: Mapping[str, str], tmp_path: Path) -> None:
    done = run(environment, "demo", "circle", "--keep", str(tmp_path))
    assert done.returncode == 2
    assert "exists already" in done.stderr
