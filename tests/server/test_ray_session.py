"""Ray as this project starts it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

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
        _require_no_helpers()
    assert not any("ray_absent_agent" in line for line in _commands())


def _commands() -> list[str]:
    commands = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            commands.append(" ".join(process.cmdline()))
    return commands


def _require_no_helpers() -> None:
    """What this process started of Ray: nothing that serves a dashboard, and what it is told instead lives."""
    programs = [line.partition(" --")[0] for line in _commands() if "/raylet " not in f"{line} "]
    assert not any(helper in line for line in programs for helper in ("dashboard", "monitor"))
    assert sum("ray_absent_agent" in line for line in programs) == 1


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
