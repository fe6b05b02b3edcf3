"""The guide's commands of ours are commands; the others are what a machine of the guide's has."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.support.pages import ROOT, Page
from tests.support.typed_commands import parsed


def _ours(line: str) -> str:
    """What stands behind the words that run it as another user or in a container, and before a redirection."""
    ours = re.sub(r"^as_unit fedaffect-\w+ ", "fedaffect ", line)
    ours = re.sub(r"^docker compose run .*?inference ", "fedaffect ", ours)
    return re.sub(r"^docker compose exec fleet fedaffect ", "fedaffect ", ours).partition(" >")[0]


LINES = [
    line
    for block in Page(ROOT / "docs" / "guides" / "deploy.md").blocks()
    if block.language == "sh"
    for line in block.commands()
]
COMMANDS = [words for line in LINES for words in map(_ours, re.split(r" && ", line)) if words.startswith("fedaffect")]


@pytest.mark.parametrize("typed", COMMANDS)
def test_each_command_of_ours_is_one(typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").touch()
    (tmp_path / "edge.tar").touch()
    (tmp_path / "backup").mkdir()
    program, *words = shlex.split(typed)
    assert program == "fedaffect"
    parsed([word.removeprefix("/var/lib/fedaffect-fleet/") for word in words])


def test_the_guide_has_some() -> None:
    assert len(COMMANDS) > 8


def test_an_archive_of_a_fleet_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (typed,) = [line for line in LINES if "tar --create" in line]
    here = typed.removeprefix("sudo ").replace("/var/lib/fedaffect-fleet", shlex.quote(str(tmp_path)))
    subprocess.run(here, shell=True, check=True, cwd=tmp_path, umask=0o022)
    (tar,) = tmp_path.glob("*.tar")
    assert tar.stat().st_mode & 0o777 == 0o600
