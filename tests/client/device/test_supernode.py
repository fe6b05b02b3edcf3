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
from flwr.app import Message, MessageType, MetricRecord, RecordDict
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.constant import TaskType
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supercore.run import Run, RunNotRunningException
from flwr.supernode.nodestate import NodeStateFactory

from fedaffect.client.device.ports import free_port
from fedaffect.client.device.supernode import LoopBackoff
from fedaffect.client.flower_compat import object_chunks, supernode
from fedaffect.client.flower_compat.names import act_as
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
    for name in ("time", "pull_objects", "_pull_and_store_message", "_push_messages"):
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
    assert waiting.notifier.count() == 0
    assert loop._pull_and_store_message() == 7
    assert waiting.notifier.count() == 1
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


def _received(number: int) -> tuple[Message, ObjectTree]:
    act_as(7, 1, 1)
    message = Message(RecordDict({"number": MetricRecord({"is": number})}), 1, MessageType.TRAIN)
    message.metadata.__dict__["_message_id"] = message.object_id
    return message, get_object_tree(message)


def test_a_late_answer_to_a_run_that_ended_is_not_taken_for_the_next_messages_own(
    monkeypatch: pytest.MonkeyPatch, closers: list[Callable[[], None]]
) -> None:
    states = NodeStateFactory(ObjectStoreFactory())
    state, store = states.state(), states.objectstore_factory.store()
    state.set_node_id(1)
    state.store_run(Run.create_empty(7))
    first, second = _received(1), _received(2)
    contents = {k: o.deflate() for message, _ in (first, second) for k, o in get_all_nested_objects(message).items()}
    waiting, sent = [first, second], []

    def confirm(run_id: int, message_id: str) -> None:
        if message_id == first[0].metadata.message_id:
            raise RunNotRunningException

    def answer(message: Message) -> None:
        loop._insert_message(Message(RecordDict(), reply_to=message), state, store)

    def send(reply: Message, *_: object) -> tuple[set[str], str]:
        sent.append(reply.metadata.reply_to_message_id)
        return set(), "session"

    class Executor:
        """Answers the second message while the loop waits for that."""

        def sleep(self, seconds: float) -> None:
            answer(second[0])

    supernode.speed_up(Executor(), threading.Event())

    def pull() -> int | None:
        return loop._pull_and_store_message(
            state=state, object_store=store, node_config={}, receive=lambda: waiting.pop(0), get_run=None,
            get_fab=None, pull_object=lambda _, key: contents[key], confirm_message_received=confirm,
            trusted_entities=None,
        )  # type: ignore[arg-type]  # fmt: skip

    assert pull() is None
    # It has the message all the same.
    answer(first[0])
    assert pull() == 7
    loop._push_messages(state=state, object_store=store, send=send, push_object=lambda *_: None)
    assert sent == [message.metadata.message_id for message, _ in (first, second)]


def test_every_speed_patch_fits_this_flower(closers: list[Callable[[], None]]) -> None:
    # Where Flower changes its loop, this says so before a fleet becomes slow.
    source = inspect.getsource(loop)
    assert "time.sleep(3)" in source
    assert "time.sleep(0.5)" in source
    assert "_pull_and_store_message(" in inspect.getsource(loop.start_client_internal)
    assert "pull_objects(" in inspect.getsource(loop._pull_and_store_message)
    assert supernode.wait_for_own_answer(loop)
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
        assert not supernode.wait_for_own_answer(loop)
    assert len(caplog.records) == 4
    assert other.pull_objects is pull_objects
    assert not [m for m in runtime_api.create_app().user_middleware if m.cls is LongPolling]
    assert closers == []
    assert loop.time is time
