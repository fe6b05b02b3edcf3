from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable

import flwr.supernode.main as runtime_api
import flwr.supernode.start_client_internal as loop
import pytest
import uvicorn
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import SuperExecAuthHttpInterceptor
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supernode.nodestate import NodeStateFactory

from fedaffect.client.device import executor, supernode
from fedaffect.client.device.ports import free_port
from fedaffect.client.device.supernode import Patience
from fedaffect.client.protocol.long_poll import Holding


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
    patience = Patience(clock=lambda: now[0], pause=slept.append, answered=answered)
    for _ in range(4):
        patience.sleep(3)
    now[0] = 0.9
    patience.sleep(3)
    # Asked all the while, each time with an answer at once.
    for now[0] in range(1, 100):
        patience._woke = now[0]
    patience.sleep(3)
    patience.sleep(0.5)
    patience.sleep(3)
    assert slept == [0.05, 0.1, 0.2, 0.2, 0.2, 3, 0.05]
    assert answered.waits == [0.5]


def test_it_does_not_sleep_where_the_superlink_waited_for_a_message() -> None:
    now, slept = [0.0], []
    patience = Patience(clock=lambda: now[0], pause=slept.append)
    for now[0] in (10.0, 20.0, 200.0):
        patience.sleep(3)
    assert slept == []


def test_an_answer_ends_the_wait_for_it() -> None:
    answered = threading.Event()
    patience = Patience(answered=answered)
    answered.set()
    patience.sleep(600 / 1000)
    assert not answered.is_set()


@pytest.fixture
def closers(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What ends the waits of a SuperNode that waits for its trainer, as Flower has it only in this test."""
    for name in ("time", "pull_objects", "_pull_and_store_message"):
        monkeypatch.setattr(loop, name, getattr(loop, name))
    monkeypatch.setattr(runtime_api, "create_app", runtime_api.create_app)
    found: list[Callable[[], None]] = []
    monkeypatch.setattr(supernode, "add_exit_handler", lambda handler, **_: found.append(handler))
    return found


def test_flowers_loop_and_its_trainer_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch, closers: list[Callable[[], None]]
) -> None:
    pulled = iter([None, 7])
    monkeypatch.setattr(loop, "_pull_and_store_message", lambda: next(pulled))
    supernode.wake_each_other()
    (held,) = [m for m in runtime_api.create_app().user_middleware if m.cls is Holding]
    (waiting,) = held.kwargs["held"].values()
    # No message, no task.
    assert loop._pull_and_store_message() is None
    assert waiting.arrivals.count == 0
    assert loop._pull_and_store_message() == 7
    assert waiting.arrivals.count == 1
    assert closers == [waiting.arrivals.close]
    (told,) = held.kwargs["told"].values()
    told()
    loop.time.sleep(0.5)
    assert {*held.kwargs["held"], *held.kwargs["told"]} <= {path for _, path in PROTOBUF_REQUEST_TYPES}


def test_a_trainers_question_is_answered_when_there_is_a_task(
    monkeypatch: pytest.MonkeyPatch, closers: list[Callable[[], None]]
) -> None:
    monkeypatch.setattr(loop, "_pull_and_store_message", lambda: 7)
    supernode.wake_each_other()
    states, secret, port = NodeStateFactory(ObjectStoreFactory()), b"s" * 32, free_port()
    app = runtime_api.create_app(state_factory=states, superexec_auth_secret=secret)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", ws="none"))
    serving = threading.Thread(target=server.run, daemon=True)
    serving.start()
    trainer = executor.Executor(f"127.0.0.1:{port}", secret, lambda message, _: message)
    client = trainer._client(SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=executor._ACQUIRE))
    try:
        while serving.is_alive() and not server.started:
            serving.join(0.01)
        assert executor._token(client) == ""
        tokens: list[str] = []
        held = threading.Thread(target=lambda: tokens.append(executor._token(client)))
        held.start()
        held.join(0.3)
        assert states.state().create_task(task_type=TaskType.CLIENT_APP, run_id=7, fab_hash="f") is not None
        assert loop._pull_and_store_message() == 7
        held.join(30)
        assert tokens
        assert tokens[0]
    finally:
        client.close()
        for close in closers:
            close()
        server.should_exit = True
        serving.join(30)


def test_flowers_loop_still_sleeps_where_patience_stands_in() -> None:
    # Where Flower changes its loop, this says so before a fleet becomes slow.
    source = inspect.getsource(loop)
    assert "time.sleep(3)" in source
    assert "time.sleep(0.5)" in source
    assert set(re.findall(r"\btime\.(\w+)", source)) == {"sleep"}
    assert "supported_task_types" in AcquireTaskRequest.DESCRIPTOR.fields_by_name
    assert "_pull_and_store_message(" in inspect.getsource(loop.start_client_internal)
    assert "pull_objects(" in inspect.getsource(loop._pull_and_store_message)
