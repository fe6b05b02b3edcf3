"""What devices push in place of a reply: bytes that are no message, or one that names another sender."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_id, get_object_tree
from flwr.supercore.run import Run
from flwr.superlink.grid.http_grid import HttpGrid
from hypothesis import given
from hypothesis import strategies as st

from fedaffect.server.federation.flower_grid import FlowerGrid
from fedaffect.server.flower_compat import replies

NODES = (11, 12, 13)
Forge = Callable[[Message], "tuple[bytes, ObjectTree] | None"]


class Wire:
    """What Flower's grid asks a SuperLink for; it holds whatever devices pushed, as a SuperLink does."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.replies: dict[str, tuple[Any, ObjectTree]] = {}

    def push(self, answers_to: str, reply: Message, forged: tuple[bytes, ObjectTree] | None) -> None:
        for each in get_all_nested_objects(reply).values():
            content = each.deflate()
            self.objects[get_object_id(content)] = content
        proto, tree = message_to_proto(remove_content_from_message(reply)), get_object_tree(reply)
        if forged is not None:
            tree = forged[1]
            self.objects[tree.object_id] = forged[0]
        # The SuperLink has checked these of the request, not of the object.
        proto.metadata.message_id, proto.metadata.reply_to_message_id = tree.object_id, answers_to
        self.replies[answers_to] = proto, tree

    def PullMessages(self, request: Any) -> PullAppMessagesResponse:
        found = [self.replies.pop(i) for i in request.message_ids if i in self.replies]
        return PullAppMessagesResponse(
            messages_list=[proto for proto, _ in found], message_object_trees=[tree for _, tree in found]
        )

    def PullObject(self, request: Any) -> PullObjectResponse:
        content = self.objects.get(request.object_id)
        return PullObjectResponse(
            object_found=True, object_available=content is not None, object_content=content or b""
        )

    def ConfirmMessageReceived(self, request: Any) -> None:
        pass


class WireGrid(HttpGrid):
    """Flower's own grid, without the socket; the second of three nodes answers as a test says."""

    def __init__(self, forge: Forge) -> None:
        super().__init__(token="x")
        self.wire, self.forge = Wire(), forge
        self.set_run(Run.create_empty(1))

    @property
    def _runtime_client(self) -> Any:
        return self.wire

    def push_messages(self, messages: Any) -> list[str]:
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = message.object_id
            ids.append(message.metadata.message_id)
            reply = Message(
                RecordDict({"metrics": MetricRecord({"node": message.metadata.dst_node_id})}), reply_to=message
            )
            odd = message.metadata.dst_node_id == NODES[1]
            self.wire.push(ids[-1], reply, self.forge(reply) if odd else None)
        return ids


def _answers(forge: Forge, timeout_s: float = 2.0) -> dict[int, Message]:
    grid = FlowerGrid(WireGrid(forge))
    messages = [Message(RecordDict(), node, "train") for node in NODES]
    return {reply.metadata.src_node_id: reply for reply in grid.stream(messages, timeout=timeout_s)}


def _as(kind: str, body: bytes, children: str = "") -> tuple[bytes, ObjectTree]:
    content = f"{kind} {children} {len(body)}".encode() + b"\x00" + body
    return content, ObjectTree(object_id=get_object_id(content))


def _of(obj: Any) -> tuple[bytes, ObjectTree]:
    return obj.deflate(), ObjectTree(object_id=get_object_id(obj.deflate()))


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda _: _as("Message", b"\xff" * 40), id="no protobuf"),
        pytest.param(lambda _: _as("NoSuch", b""), id="an unknown kind"),
        pytest.param(lambda _: _as("Message", b"", "0" * 64), id="a child that is not there"),
        pytest.param(lambda _: (b"", ObjectTree(object_id=get_object_id(b""))), id="nothing"),
        pytest.param(lambda _: (b"\xff\xfe", ObjectTree(object_id="0" * 64)), id="no text"),
        pytest.param(lambda _: _of(Array(np.zeros(2, np.float32))), id="an array"),
        pytest.param(lambda _: _of(MetricRecord({"a": 1})), id="metrics"),
    ],
)
def test_bytes_that_are_no_message_are_their_senders_failure_and_nobody_elses(forge: Forge) -> None:
    answers = _answers(forge)
    assert set(answers) == set(NODES)
    assert answers[NODES[1]].has_error()
    assert "malformed" in answers[NODES[1]].error.reason or "never came" in answers[NODES[1]].error.reason
    for node in (NODES[0], NODES[2]):
        assert answers[node].content.metric_records["metrics"]["node"] == node


def test_a_reply_whose_parts_never_come_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "_PARTS_S", 0.1)
    never = ObjectTree(object_id="f" * 64)

    def cut_off(_: Message) -> tuple[bytes, ObjectTree]:
        content, tree = _as("Message", b"", never.object_id)
        return content, ObjectTree(object_id=tree.object_id, children=[never])

    answers = _answers(cut_off, timeout_s=120.0)
    assert set(answers) == set(NODES)
    # What is there is read meanwhile.
    assert list(answers)[-1] == NODES[1]
    assert "parts of the reply never came" in answers[NODES[1]].error.reason
    for node in (NODES[0], NODES[2]):
        assert answers[node].content.metric_records["metrics"]["node"] == node


@pytest.mark.slow
@given(st.binary(max_size=200), st.sampled_from(["Message", "RecordDict", "ArrayRecord", "Array", "ConfigRecord", ""]))
def test_whatever_bytes_a_device_pushes_a_round_goes_on(body: bytes, kind: str) -> None:
    content = body if not kind else _as(kind, body)[0]
    answers = _answers(lambda _: (content, ObjectTree(object_id=get_object_id(content))))
    assert {NODES[0], NODES[2]} <= set(answers) == set(NODES)


def test_a_reply_is_whose_message_it_answers_whatever_it_says_itself() -> None:
    def named(reply: Message) -> tuple[bytes, ObjectTree]:
        said = reply.metadata.__dict__
        said["_src_node_id"], said["_reply_to_message_id"] = NODES[0], "f" * 64
        content = reply.deflate()
        return content, ObjectTree(object_id=get_object_id(content), children=get_object_tree(reply).children)

    answers = _answers(named)
    assert {node: dict(reply.content.metric_records["metrics"]) for node, reply in answers.items()} == {
        node: {"node": node} for node in NODES
    }
