"""The wheel, in an environment of its own, beside a user's own packages named as our rooms are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.edge.conftest import make_bundle, tiny_bundle  # noqa: F401 - fixtures

from fedaffect.edge.bundle import SigningKey, sign

pytestmark = [pytest.mark.slow, pytest.mark.ray]

ROOT = Path(__file__).resolve().parents[1]
DATA = {
    "fedaffect/py.typed",
    "fedaffect/edge/cloud/proto/affect.proto",
    "fedaffect/server/registry/migrations/script.py.mako",
    "fedaffect/server/serving/http/page/index.html",
    "fedaffect/server/models/bundling/trained/LICENSE-WEIGHTS",
    "fedaffect/server/models/bundling/trained/permissive/LICENSE-WEIGHTS",
    "fedaffect/server/models/bundling/trained/permissive/fusion.safetensors",
    "fedaffect/server/models/bundling/trained/step.onnx.gz",
}
ENDINGS = {"py", "pyi", "typed", "proto", "safetensors", "onnx", "json", "ini", "mako", "md", "LICENSE-WEIGHTS"}

ASK = """
import sys
from pathlib import Path
import fedaffect, client, server, simulation
from fedaffect import EdgeRuntime, Sample

root = Path(sys.argv[2])
assert Path(fedaffect.__file__).is_relative_to(root), fedaffect.__file__
assert all(module.MINE for module in (client, server, simulation))
with EdgeRuntime.load(Path(sys.argv[1])) as runtime:
    print(runtime.predict(Sample(text="i am so happy")).label)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # With the build backend of this environment, which needs no network.
    offline = ("--no-build-isolation", "--no-deps", "--no-index")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", *offline, "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and ("hatchling" in done.stderr or "No module named pip" in done.stderr):
        pytest.skip(f"the wheel's build backend cannot be had here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, which sees what this one has but for the checkout."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/python*/site-packages")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(command, check=True)
    # A .pth file adds the packages themselves; the .pth files in there, such as an editable install's, are not read.
    packages = {sysconfig.get_path("purelib"), *(p for p in sys.path if Path(p).name == "site-packages")}
    (site / "packages.pth").write_text("".join(f"{path}\n" for path in sorted(packages)))
    return folder


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    for name in ("client", "server", "simulation"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    return tmp_path


def run(folder: Path, *command: object) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_leaves_one_name_and_has_its_data(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fedaffect"}
    assert set(names) >= DATA
    files = [name.rpartition("/")[2] for name in names if name.startswith("fedaffect/")]
    # Whom the shipped fusion learned from, as means and variances, is the only array file.
    files.remove("population.npz")
    endings = {name.rpartition(".")[2] for name in files}
    assert endings >= ENDINGS
    assert not endings & {"pyc", "npz", "log", "pth", "pt"}


def test_it_predicts_beside_packages_of_the_users_own(
    installed: Path,
    users_folder: Path,
    make_bundle,  # noqa: F811
) -> None:
    bundle = make_bundle(77)
    sign(bundle, SigningKey.own())
    python = installed / "bin" / "python"
    label = run(users_folder, python, "-c", ASK, bundle, installed).strip()
    said = json.loads(
        run(users_folder, installed / "bin" / "fedaffect", "edge", "predict", "--bundle", bundle,
            "--text", "i am so happy", "--json")
    )  # fmt: skip
    assert said["label"] == label


def test_it_simulates_beside_packages_of_the_users_own(
    installed: Path,
    users_folder: Path,
    tiny_bundle: Path,  # noqa: F811
) -> None:
    small = ("--model-option", "width=16", "--model-option", "heads=2", "--model-option", "feedforward=32")
    run(users_folder, installed / "bin" / "fedaffect", "simulate", "--modalities", "text", "--bundle", tiny_bundle,
        "--rounds", 1, "--clients-per-round", 2, "--actors", 1, "--name", "beside", *small)  # fmt: skip
    summary = json.loads((users_folder / "runs" / "beside" / "summary.json").read_text())
    assert (summary["dataset"], summary["rounds"]) == ("synthetic", 1)
