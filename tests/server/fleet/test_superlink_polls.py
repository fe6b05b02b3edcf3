from __future__ import annotations

import inspect
import logging

import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse, PushMessagesResponse
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskResponse,
    PullAppMessagesResponse,
    PushAppMessagesRequest,
    PushAppMessagesResponse,
)
from flwr.supercore.protobuf import translation
from flwr.superlink.grid import http_grid

from fedaffect.client.protocol.notifier import Notifier
from fedaffect.server.fleet.superlink.long_polls import ChunkTracker, SuperLinkPolls
from fedaffect.server.flower_compat.grid import look_sooner_for_replies


def test_a_message_came_when_its_last_chunk_did() -> None:
    notifier = Notifier()
    tracker = ChunkTracker(notifier)
    tracker.announced("s", ["x", "y"])
    tracker.announced("t", ["x"])
    tracker.stored("s", "x")
    tracker.stored("s", "x")
    tracker.stored("u", "y")
    assert notifier.count() == 0
    tracker.stored("t", "x")
    assert notifier.count() == 1
    tracker.stored("s", "y")
    assert notifier.count() == 2
    # All its chunks were there already, of another message.
    tracker.announced("v", [])
    assert notifier.count() == 3


def test_a_push_that_was_given_up_is_forgotten() -> None:
    now = [0.0]
    notifier = Notifier()
    tracker = ChunkTracker(notifier, clock=lambda: now[0])
    tracker.announced("s", ["x"])
    now[0] = 200.0
    tracker.announced("t", ["x"])
    tracker.stored("s", "x")
    assert notifier.count() == 0
    assert list(tracker._pushes) == ["t"]


@pytest.mark.parametrize(
    ("api", "waiting", "reply"),
    [
        ("runtime", "/v1/fleet/pull-messages", PushAppMessagesResponse(session_id="s", objects_to_push=["x"])),
        ("fleet", "/v1/runtime/pull-messages", PushMessagesResponse(session_id="s", objects_to_push=["x"])),
    ],
)
def test_what_passes_the_gate_ends_the_wait_for_it(
    api: str, waiting: str, reply: PushAppMessagesResponse | PushMessagesResponse
) -> None:
    polls = SuperLinkPolls()
    answered, notifier = polls.answered, polls.polls[waiting].notifier
    answered[f"/v1/{api}/push-messages"](b"", reply.SerializeToString())
    assert notifier.count() == 0
    chunk = PushObjectRequest(session_id="s", object_id="x", object_content=b"content")
    answered[f"/v1/{api}/push-object"](chunk.SerializeToString(), b"")
    assert notifier.count() == 1


def test_a_message_ends_the_wait_of_the_node_that_it_is_for() -> None:
    polls = SuperLinkPolls()
    poll, answered = polls.polls["/v1/fleet/pull-messages"], polls.answered
    # As large as Flower draws them.
    one, other = 2**63 + 5, 17
    message = MessageProto(metadata=Metadata(dst_node_id=one))
    push = PushAppMessagesRequest(messages_list=[message]).SerializeToString()
    asking = {who: poll.who(PullMessagesRequest(node=Node(node_id=who)).SerializeToString()) for who in (one, other)}
    assert asking == {one: one, other: other}
    reply = PushAppMessagesResponse(session_id="s", objects_to_push=["x"]).SerializeToString()
    answered["/v1/runtime/push-messages"](push, reply)
    answered["/v1/runtime/push-object"](PushObjectRequest(session_id="s", object_id="x").SerializeToString(), b"")
    assert (poll.notifier.count(one), poll.notifier.count(other)) == (1, 0)
    # A node that is revoked is to hear of it, whichever it is.
    answered["/v1/control/unregister-node"](b"", b"")
    assert (poll.notifier.count(one), poll.notifier.count(other)) == (2, 1)
    assert poll.who(b"no protobuf") is None


def test_what_cannot_be_read_ends_a_wait_rather_than_nothing() -> None:
    polls = SuperLinkPolls()
    polls.answered["/v1/runtime/push-messages"](b"", b"no protobuf")
    polls.answered["/v1/runtime/push-object"](b"no protobuf", b"")
    assert polls.polls["/v1/fleet/pull-messages"].notifier.count() == 1


def test_flower_has_what_long_polls_need(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    # Where Flower moves one of these, this says so before a fleet becomes slow.
    assert SuperLinkPolls().fit()
    # Nothing is told by no bytes.
    for nothing in (PullMessagesResponse(), PullAppMessagesResponse(), AcquireTaskResponse()):
        assert nothing.SerializeToString() == b""
    assert "pull_objects(" in inspect.getsource(http_grid.HttpGrid.pull_messages)
    monkeypatch.setattr(http_grid, "pull_objects", http_grid.pull_objects)
    assert look_sooner_for_replies()
    moved = dict(translation.PROTOBUF_REQUEST_TYPES)
    del moved["POST", "/v1/fleet/push-object"]
    monkeypatch.setattr(translation, "PROTOBUF_REQUEST_TYPES", moved)
    with caplog.at_level(logging.WARNING):
        assert not SuperLinkPolls().fit()
    assert len(caplog.records) == 1
