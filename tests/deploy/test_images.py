"""The images' Dockerfile: nothing that hadolint warns of, commands that there are, and pinned parts."""

from __future__ import annotations

import hashlib
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


def test_two_builds_of_a_commit_have_one_digest_and_two_commits_two(tmp_path: Path) -> None:
    same = _script("same")
    digests = {
        (host, command): same.make_same(_image(tmp_path / f"{host}-{command}", host, command))
        for host in ("a1", "b2")
        for command in ("serve", "edge")
    }
    assert digests["a1", "serve"] == digests["b2", "serve"] != digests["b2", "edge"]
    manifest = json.loads((tmp_path / "a1-serve" / "manifest.json").read_text(encoding="utf-8"))
    named = tmp_path / "a1-serve" / manifest["config"]["digest"].removeprefix("sha256:")
    assert hashlib.sha256(named.read_bytes()).hexdigest() == named.name
    assert named.stat().st_size == manifest["config"]["size"]
    assert manifest["layers"] == [{"digest": "sha256:1"}]
    # What it runs as, and how it is found healthy, stays.
    kept = json.loads(named.read_text(encoding="utf-8"))
    assert kept["config"] == {"Cmd": ["serve"], "User": "10001:10001", "Healthcheck": {"Test": ["CMD", "true"]}}
    assert kept["history"] == [{"created_by": "USER 10001:10001"}]


def _image(folder: Path, host: str, command: str) -> Path:
    """As buildah writes one."""
    folder.mkdir()
    config = {
        "container": host,
        "parent": f"sha256:{host}",
        "config": {
            **{"Hostname": host, "Cmd": [command], "User": "10001:10001"},
            "Healthcheck": {"Test": ["CMD", "true"]},
        },
        "history": [{"created_by": "USER 10001:10001", "comment": f"FROM {host}"}],
    }
    said = json.dumps(config).encode()
    digest = hashlib.sha256(said).hexdigest()
    (folder / digest).write_bytes(said)
    manifest = {"config": {"digest": f"sha256:{digest}", "size": len(said)}, "layers": [{"digest": "sha256:1"}]}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _script(name: str) -> ModuleType:
    loader = SourceFileLoader(name, str(DOCKERFILE.with_name(f"{name}.py")))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
