"""The units: what systemd takes, commands that there are, and services that little is open to."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.typed_commands import parsed

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
# Of ten, as systemd counts; a service with no bounds has 9.6.
MOST_EXPOSED = 1.5


def analyse(*arguments: object) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ("systemd-analyze", *map(str, arguments))
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_each_command_is_one(unit: Path) -> None:
    started = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    assert started
    for line in started:
        program, *words = shlex.split(line)
        assert program == "/opt/fedaffect/bin/fedaffect"
        parsed(words)


def test_systemd_takes_them(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        # Programs have to be there, and the user on this machine.
        text = text.replace("/opt/fedaffect/bin/fedaffect", sys.executable)
        text = re.sub(r"^User=.*$", "User=daemon", text, flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    done = analyse("verify", "--man=no", *sorted(tmp_path.iterdir()))
    assert (done.returncode, done.stderr) == (0, "")
    broken = tmp_path / UNITS[0].name
    broken.write_text(broken.read_text(encoding="utf-8").replace("ProtectSystem=strict", "ProtectSystem=strickt"))
    assert "strickt" in analyse("verify", "--man=no", broken).stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_little_is_open_to_them(unit: Path, tmp_path: Path) -> None:
    threshold = f"--threshold={round(MOST_EXPOSED * 10)}"
    assert analyse("security", "--offline=yes", "--no-pager", threshold, unit).returncode == 0
    open_to_all = tmp_path / unit.name
    text = unit.read_text(encoding="utf-8")
    open_to_all.write_text(text.replace("ProtectSystem=strict\n", "").replace("CapabilityBoundingSet=\n", ""))
    assert analyse("security", "--offline=yes", "--no-pager", threshold, open_to_all).returncode != 0


def test_none_reads_what_another_has() -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        assert re.findall(r"^(?:User|Group|StateDirectory)=(.*)$", text, re.MULTILINE) == [unit.stem, unit.stem]
        assert "StateDirectoryMode=0700\n" in text
        assert set(re.findall(r"/var/lib/([\w-]+)", text)) == {unit.stem}


def test_the_users_are_made(tmp_path: Path) -> None:
    if shutil.which("systemd-sysusers") is None or os.getuid() != 0:
        pytest.skip("systemd-sysusers is not installed, or this is not root")
    (tmp_path / "etc").mkdir()
    made = ("systemd-sysusers", f"--root={tmp_path}", str(FOLDER / "sysusers.conf"))
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    entries = [line.split(":") for line in (tmp_path / "etc" / "passwd").read_text(encoding="utf-8").splitlines()]
    users = {entry[0]: entry[2:4] for entry in entries if entry[0].startswith("fedaffect")}
    assert users.keys() == {unit.stem for unit in UNITS}
    for ids in zip(*users.values(), strict=True):
        assert len(set(ids)) == len(UNITS)
