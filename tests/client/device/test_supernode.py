from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable
from types import ModuleType

import flwr.supercore.exit as leaving
import flwr.supernode.main as runtime_api
import flwr.supernode.start_client_internal as loop
import pytest
import uvicorn
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supernode.nodestate import NodeStateFactory

from fedaffect.client.device.ports import free_port
from fedaffect.client.device.supernode import LoopBackoff
from fedaffect.client.flower_compat import object_chunks, supernode
from fedaffect.client.flower_compat.tasks import TaskQueue
from fedaffect.client.protocol.long_poll import LongPolling


class _Answered(threading.Event):
    """Notes how long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        return super().wait(0)


def test_it_looks_often_after_something_happened_and_seldom_later() -> None:
    now, slept, answered = [0.0], [], _Answered()
    backoff = LoopBackoff(clock=lambda: now[0], pause=slept.append, answered=answered)
    for _ in range(4):
        backoff.sleep(3)
    now[0] = 0.9
    backoff.sleep(3)
    # Asked all the while, each time with an answer at once.
    for now[0] in range(1, 100):
        backoff._woke = now[0]
    backoff.sleep(3)
    backoff.sleep(0.5)
    backoff.sleep(3)
    assert slept == [0.05, 0.1, 0.2, 0.2, 0.2, 3, 0.05]
    assert answered.waits == [0.5]


def test_it_does_not_sleep_where_the_superlink_waited_for_a_message() -> None:
    now, slept = [0.0], []
    backoff = LoopBackoff(clock=lambda: now[0], pause=slept.append)
    for now[0] in (10.0, 20.0, 200.0):
        backoff.sleep(3)
    assert slept == []


def test_an_answer_ends_the_wait_for_it() -> None:
    answered = threading.Event()
    backoff = LoopBackoff(answered=answered)
    answered.set()
    backoff.sleep(600 / 1000)
    assert not answered.is_set()


@pytest.fixture
def closers(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What ends the waits of a SuperNode that waits for its executor, as Flower has it only in this test."""
    for name in ("time", "pull_objects", "_pull_and_store_message"):
        monkeypatch.setattr(loop, name, getattr(loop, name))
    monkeypatch.setattr(runtime_api, "create_app", runtime_api.create_app)
    found: list[Callable[[], None]] = []
    monkeypatch.setattr(leaving, "add_exit_handler", lambda handler, *, run_before_force_exit: found.append(handler))
    return found


def test_flowers_loop_and_its_executor_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch, closers: list[Callable[[], None]]
) -> None:
    pulled, answered = iter([None, 7]), threading.Event()
    monkeypatch.setattr(loop, "_pull_and_store_message", lambda: next(pulled))
    supernode.speed_up(LoopBackoff(answered=answered), answered)
    (held,) = [m for m in runtime_api.create_app().user_middleware if m.cls is LongPolling]
    (waiting,) = held.kwargs["polls"].values()
    # No message, no task.
    assert loop._pull_and_store_message() is None
    assert waiting.notifier.count == 0
    assert loop._pull_and_store_message() == 7
    assert waiting.notifier.count == 1
    assert closers == [waiting.notifier.close]
    (told,) = held.kwargs["answered"].values()
    told(b"", b"")
    loop.time.sleep(0.5)
    assert not answered.is_set()
    assert {*held.kwargs["polls"], *held.kwargs["answered"]} <= {path for _, path in PROTOBUF_REQUEST_TYPES}


@pytest.mark.slow
def test_an_executors_request_is_answered_when_there_is_a_task(
    monkeypatch: pytest.MonkeyPatch, closers: list[Callable[[], None]]
) -> None:
    monkeypatch.setattr(loop, "_pull_and_store_message", lambda: 7)
    supernode.speed_up(LoopBackoff(), threading.Event())
    states, secret, port = NodeStateFactory(ObjectStoreFactory()), b"s" * 32, free_port()
    app = runtime_api.create_app(state_factory=states, superexec_auth_secret=secret)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none"))
    serving = threading.Thread(target=server.run, daemon=True)
    serving.start()
    queue = TaskQueue(f"127.0.0.1:{port}", secret)
    try:
        while serving.is_alive() and not server.started:
            serving.join(0.01)
        assert queue.acquire() is None
        tasks: list[object] = []
        held = threading.Thread(target=lambda: tasks.append(queue.acquire()))
        held.start()
        held.join(0.3)
        assert states.state().create_task(task_type=TaskType.CLIENT_APP, run_id=7, fab_hash="f") is not None
        assert loop._pull_and_store_message() == 7
        held.join(30)
        assert tasks != [None]
        assert len(tasks) == 1
    finally:
        queue.close()
        for close in closers:
            close()
        server.should_exit = True
        serving.join(30)


def test_every_speed_patch_fits_this_flower(closers: list[Callable[[], None]]) -> None:
    # Where Flower changes its loop, this says so before a fleet becomes slow.
    source = inspect.getsource(loop)
    assert "time.sleep(3)" in source
    assert "time.sleep(0.5)" in source
    assert "_pull_and_store_message(" in inspect.getsource(loop.start_client_internal)
    assert "pull_objects(" in inspect.getsource(loop._pull_and_store_message)
    assert supernode.replace_sleep(loop, LoopBackoff())
    assert supernode.hold_task_requests(loop, threading.Event())
    assert object_chunks.wait_less_for_chunks(loop)


def test_a_speed_patch_that_does_not_fit_is_left_out_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, closers: list[Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    def pull_objects(object_ids: list[str]) -> dict[str, bytes]:
        return dict.fromkeys(object_ids, b"")

    other = ModuleType("other")
    other.pull_objects = pull_objects  # type: ignore[attr-defined]
    monkeypatch.delattr(loop, "_pull_and_store_message")
    with caplog.at_level(logging.WARNING):
        assert not object_chunks.wait_less_for_chunks(other)
        assert not supernode.hold_task_requests(loop, threading.Event())
        assert not supernode.replace_sleep(None, LoopBackoff())
    assert len(caplog.records) == 3
    assert other.pull_objects is pull_objects
    assert not [m for m in runtime_api.create_app().user_middleware if m.cls is LongPolling]
    assert closers == []
    assert loop.time is time
