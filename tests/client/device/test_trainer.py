"""Messages handed to a resident trainer over its socket, by the real handler."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Error, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedaffect.client.app import app
from fedaffect.client.device import frames, handover
from fedaffect.client.device.handover import TRAINER_SOCKET
from fedaffect.client.device.trainer import Trainer
from fedaffect.client.wire import REFUSED
from fedaffect.edge.errors import ConfigError, RunError


def doubled(message: Message, context: Context) -> Message:
    """Doubles arrays, counts messages in the context."""
    if message.metadata.message_type == MessageType.QUERY:
        return Message(Error(REFUSED, "not now"), reply_to=message)
    if message.metadata.message_type == MessageType.EVALUATE:
        raise RunError("it broke; mend it")
    array = message.content.array_records["arrays"]["a"].numpy()
    context.state["seen"] = ArrayRecord({"count": Array(np.array([len(context.state) + 1]))})
    return Message(RecordDict({"arrays": ArrayRecord({"a": Array(2 * array)})}), reply_to=message)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    path = tmp_path / "run" / "trainer.sock"
    trainer = Trainer(path, doubled)
    thread = threading.Thread(target=trainer.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv(TRAINER_SOCKET, str(path))
    yield path
    trainer.shutdown()
    trainer.server_close()
    thread.join()


def message(kind: str = MessageType.TRAIN) -> Message:
    arrays = ArrayRecord({"a": Array(np.arange(1000, dtype=np.float32))})
    return Message(RecordDict({"arrays": arrays}), 99, kind)


def context() -> Context:
    return Context(run_id=7, node_id=99, node_config={"partition-id": 2}, state=RecordDict(), run_config={})


def test_the_resident_trainer_answers_and_keeps_its_state(path: Path) -> None:
    mine = context()
    asked = message()
    reply = app(asked, mine)
    assert np.array_equal(reply.content.array_records["arrays"]["a"].numpy(), 2 * np.arange(1000, dtype=np.float32))
    assert reply.metadata.reply_to_message_id == asked.metadata.message_id
    assert "seen" in mine.state


def test_a_no_comes_through_with_its_code(path: Path) -> None:
    reply = app(message(MessageType.QUERY), context())
    assert reply.has_error()
    assert (reply.error.code, reply.error.reason) == (REFUSED, "not now")


def test_what_it_raised_is_raised_here_in_one_line(path: Path) -> None:
    with pytest.raises(RunError, match="it broke; mend it"):
        app(message(MessageType.EVALUATE), context())


def test_socket_and_folder_are_private(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_socket_that_others_may_use_is_not_spoken_to(path: Path) -> None:
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="not a private socket"):
        app(message(), context())


def test_without_a_trainer_the_error_says_what_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRAINER_SOCKET, str(tmp_path / "none.sock"))
    monkeypatch.setattr(handover, "_STARTING_S", 0.05)
    with pytest.raises(RunError, match="fedaffect device start"):
        app(message(), context())


def test_a_frame_cut_short_or_too_long_is_refused() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall((10).to_bytes(8, "big") + b"abc")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(RunError, match="hung up"):
            frames.receive_frame(ours)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall((2**40).to_bytes(8, "big"))
        with pytest.raises(RunError, match="announced"):
            frames.receive_frame(ours)


def test_the_handler_imports_neither_torch_nor_opacus() -> None:
    code = "import sys, fedaffect.client.app; raise SystemExit(any(m in sys.modules for m in ('torch', 'opacus')))"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode == 0
