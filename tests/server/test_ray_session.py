"""Ray as this project starts it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray
from ray import serve

from fedaffect.server import ray_compat
from fedaffect.server.ray_session import let_threads_make_deployments, ray_session

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def _hasty() -> Iterator[None]:
    """Threads take turns so often that a race shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _make_deployments(number: int) -> int:
    scaling = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 1}
    for _ in range(number):
        serve.deployment(type("Replica", (), {}), name="part", autoscaling_config=scaling)
    return number


@pytest.mark.ray
@pytest.mark.usefixtures("_hasty")
def test_threads_make_deployments_at_once() -> None:
    let_threads_make_deployments()
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(_make_deployments, [50] * 4)) == 200


@pytest.mark.ray
def test_a_ray_that_somebody_else_runs_here_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # What Ray finds where another Ray runs on the machine, or ran and left its note.
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda *_: "127.0.0.1:1", raising=True)
    with ray_session(cores=1) as started:
        assert started
        assert ray.cluster_resources()["CPU"] == 1
        agent = _require_no_helpers()
    agent.wait(60)


@pytest.mark.ray
def test_what_stands_in_for_the_agent_ends_with_the_scheduler(tmp_path: Path) -> None:
    with ray_session(cores=1):
        agent = _require_no_helpers()
        parent = agent.parent()
        assert parent is not None
        parent.kill()
        agent.wait(60)
    # Where the scheduler is gone before it has begun, somebody else is its parent by then.
    program = Path(ray_compat.__file__).with_name("ray_absent_agent.py")
    about = ["--session-dir", str(tmp_path), "--node-id", "1"]
    assert subprocess.run([sys.executable, "-I", "-S", str(program), *about], timeout=60, check=False).returncode == 0
    assert not list(tmp_path.iterdir())


def _require_no_helpers() -> psutil.Process:
    """What this process started of Ray has nothing that serves a dashboard; what stands in for that."""
    programs = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            programs[process] = " ".join(process.cmdline()).partition(" --")[0]
    others = [line for line in programs.values() if not line.endswith("/raylet")]
    assert not any(helper in line for line in others for helper in ("dashboard", "monitor"))
    (agent,) = (process for process, line in programs.items() if "ray_absent_agent" in line)
    return agent


def test_a_node_that_is_slow_to_appear_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([RuntimeError("it is not there"), RuntimeError("it is not there"), {"labels": {}}])

    def get_node(address: str, node: str) -> dict[str, object]:
        if isinstance(found := next(looks), RuntimeError):
            raise found
        return found

    monkeypatch.setattr(ray_compat.services, "get_node", get_node)
    with ray_compat.waiting_for_nodes():
        assert ray_compat.services.get_node("address", "node") == {"labels": {}}
    assert ray_compat.services.get_node is get_node
