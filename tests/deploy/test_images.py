"""The images' Dockerfile: nothing that hadolint warns of, commands that there are, and pinned parts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.typed_commands import parsed

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "images" / "Dockerfile"
TEXT = DOCKERFILE.read_text(encoding="utf-8")
STAGES = {name: text for text in TEXT.split("\nFROM ") for name in re.findall(r"\A\S+ AS (\S+)\n", text)}


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed; pip install '.[deploy-test]'")
    return subprocess.run((program, path), capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    done = hadolint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")
    loose = tmp_path / "Dockerfile"
    loose.write_text(TEXT.replace("python3=3.11.*", "python3"), encoding="utf-8")
    assert "DL3008" in hadolint(loose).stdout


@pytest.mark.parametrize("name", ["edge", "device", "server"])
def test_an_image_runs_a_command_of_ours_as_nobody_in_particular(name: str) -> None:
    stage = STAGES[name]
    assert "\nUSER 10001:10001\n" in stage
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)$", stage, re.MULTILINE)[0]) == ["fedaffect"]
    (healthy, *_), (command,) = (
        [json.loads(words) for words in re.findall(pattern, stage, re.MULTILINE)]
        for pattern in (r"HEALTHCHECK (?:.|\\\n)*?CMD (\[.*\])$", r"^CMD (\[.*\])$")
    )
    if command[-1] != "--help":
        parsed(command)
    if healthy[0] == "fedaffect":
        parsed(healthy[1:])


def test_each_file_that_is_copied_is_there_and_not_ignored() -> None:
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*)$", TEXT, re.MULTILINE) for word in line.split()[:-1]]
    assert len(copied) > 10
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(Path(path).match(one[1:]) or path.startswith(one[1:] + "/") for one in kept if one[0] == "!"), path


def test_what_is_installed_is_pinned_and_known_by_hash() -> None:
    install = _script("install")
    wanted = list(install.requirements(["learn"]))
    assert "flwr==1.42.*" in wanted
    assert not any(line.startswith(("torch", "fedaffect")) for line in wanted)
    assert any(line.startswith("torch==") for line in install.requirements(["server"]))
    (line,) = install.hashed(["Numpy"])
    assert re.fullmatch(r"numpy==\S+( --hash=sha256:[0-9a-f]{64})+", line)
    with pytest.raises(SystemExit, match="no hashes are known of nobodys-project"):
        install.hashed(["nobodys_project"])


def _script(name: str) -> ModuleType:
    loader = SourceFileLoader(name, str(DOCKERFILE.with_name(f"{name}.py")))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
