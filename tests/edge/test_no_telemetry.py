"""Nothing that fedaffect brings along talks to anybody: programs at work where every packet is seen."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.support.recorded_network import recorded

from fedaffect.edge.bundle import SigningKey, sign
from fedaffect.edge.system.no_telemetry import SILENT

# ONNX Runtime asks for its maker's host some seconds after a session was opened.
_WAIT = "import time; time.sleep(12)\n"
_WAIT_LONG = "import time; time.sleep(600)\n"

_PREDICT = """
import sys
from pathlib import Path
from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.runtime.probes import spoken
with EdgeRuntime.load(Path(sys.argv[1])) as runtime:
    print(runtime.predict(Sample(id="1", text="i am happy", audio=spoken())).label)
"""

_COMMAND = """
import sys
from fedaffect.edge.cli.main import main
sys.argv = ["fedaffect", "edge", "predict", "--bundle", sys.argv[1], "--privacy", "never", "--text", "i am happy"]
try:
    main()
except SystemExit as ended:
    assert not ended.code
"""

_QUANTISE = """
import fedaffect.server.models.bundling.precision
import onnxruntime, sys
onnxruntime.InferenceSession(sys.argv[1] + "/text.onnx", providers=["CPUExecutionProvider"])
"""

# Tests of the other rooms, which run the real programs, with everything imported that could talk.
_TESTS = """
import sys
import pytest
code = pytest.main(["-q", "-p", "no:cacheprovider", "--basetemp", *sys.argv[1:]])
assert code == 0, code
import huggingface_hub, opacus, ray, transformers
"""


_RAY = """
import ray, time
from fedaffect.edge.system.no_telemetry import SILENT
from fedaffect.server.ray_session import ray_session
with ray_session(cores=1):
    @ray.remote
    def environment():
        import os
        return dict(os.environ)
    assert SILENT.items() <= ray.get(environment.remote()).items()
    time.sleep(10)
"""


@pytest.fixture
def bundle(make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The program's own place for keys, where it finds who signed.
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(_home(tmp_path) / ".config" / "fedaffect"))
    folder = make_bundle()
    sign(folder, SigningKey.own())
    return folder


def _home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    return home


def _others(home: Path) -> list[str]:
    """Files outside our own folders."""
    own = [home / base / "fedaffect" for base in (".cache", ".config", ".local/share")]
    files = [path for path in home.rglob("*") if path.is_file() and path != home / "resolv.conf"]
    return [str(path.relative_to(home)) for path in files if not any(path.is_relative_to(folder) for folder in own)]


@pytest.mark.slow
def test_a_device_that_predicts_sends_nothing_and_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    home = _home(tmp_path)
    programs = {"runtime": _PREDICT, "command": _COMMAND, "bundling": _QUANTISE}
    with ThreadPoolExecutor(len(programs)) as pool:
        # Most of their time is that wait.
        sent = pool.map(lambda p: recorded([sys.executable, "-c", p + _WAIT, str(bundle)], home), programs.values())
        assert dict(zip(programs, sent, strict=True)) == {name: [] for name in programs}
    assert _others(home) == []


@pytest.mark.slow
def test_without_the_variable_its_maker_would_be_asked_for(bundle: Path, tmp_path: Path) -> None:
    # What this test would not see, the tests above would not either.
    home = _home(tmp_path)
    host = "microsoft.com"
    program = [sys.executable, "-c", _PREDICT + _WAIT_LONG, str(bundle)]
    sent = recorded(program, home, until=host, ORT_DISABLE_TELEMETRY="0")
    assert any(host in line for line in sent)
    assert any("deviceid" in name for name in _others(home))


@pytest.mark.slow
def test_learning_and_serving_send_nothing_and_leave_nothing(tmp_path: Path) -> None:
    home = _home(tmp_path)
    tests = (
        "client/device/test_own_examples.py::test_it_trains_on_what_its_user_labelled_and_agreed_to",
        "server/federation/privacy/test_private_runs.py::test_local_privacy_says_what_an_utterance_has_spent",
        "server/fleet/test_rollout.py::test_a_better_bundle_is_taken_up_and_a_worse_one_taken_back",
        "server/serving/test_rest.py::test_multipart_and_json_give_one_answer",
        "server/serving/test_rest.py::test_feedback_is_taken_once",
    )
    chosen = [f"tests/{test}" for test in tests]
    sent = recorded([sys.executable, "-c", _TESTS + _WAIT, str(tmp_path / "inner"), *chosen], home)
    assert sent == []
    assert _others(home) == []


@pytest.mark.slow
@pytest.mark.ray
def test_ray_asks_nobody_where_it_runs(tmp_path: Path) -> None:
    home = _home(tmp_path)
    # Short, for Ray's sockets lie in it.
    with TemporaryDirectory(prefix="r") as scratch:
        sent = recorded([sys.executable, "-c", _RAY], home, TMPDIR=scratch)
    assert sent == []
    assert _others(home) == []


def test_who_imports_a_part_gets_the_silence_and_who_asks_for_telemetry_keeps_it() -> None:
    rooms = ("fedaffect.edge", "fedaffect.client", "fedaffect.server", "fedaffect.simulation")
    bare = {name: value for name, value in os.environ.items() if name not in SILENT}
    shown = "import os, subprocess, sys; print(subprocess.check_output(['env'], text=True))"

    def environment(imported: str, given: dict[str, str]) -> set[str]:
        program = [sys.executable, "-c", f"import {imported}; {shown}"]
        return set(subprocess.run(program, env=given, capture_output=True, text=True, check=True).stdout.splitlines())

    for room in rooms:
        assert {f"{name}={value}" for name, value in SILENT.items()} <= environment(room, bare)
    assert "FLWR_TELEMETRY_ENABLED=1" in environment("fedaffect", {**bare, "FLWR_TELEMETRY_ENABLED": "1"})
