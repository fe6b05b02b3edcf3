from __future__ import annotations

import inspect
import types

import pytest
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import PushObjectRequest, PushObjectResponse
from flwr.proto.runtime_pb2 import (
    AcquireTaskResponse,
    PullAppMessagesResponse,
    PushAppMessagesRequest,
    PushAppMessagesResponse,
)
from flwr.supercore.constant import TASK_TOKEN_HEADER
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.grid import http_grid
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers

from fedaffect.client.protocol.long_poll import Arrivals
from fedaffect.server.fleet.superlink.deliveries import Deliveries, watch
from fedaffect.server.fleet.superlink.program import Waiting


def test_a_message_came_when_its_last_piece_did() -> None:
    arrivals = Arrivals()
    deliveries = Deliveries(arrivals)
    deliveries.announced("s", ["x", "y"])
    deliveries.announced("t", ["x"])
    deliveries.stored("s", "x")
    deliveries.stored("s", "x")
    deliveries.stored("u", "y")
    assert arrivals.count == 0
    deliveries.stored("t", "x")
    assert arrivals.count == 1
    deliveries.stored("s", "y")
    assert arrivals.count == 2
    # All its pieces were there already, of another message.
    deliveries.announced("v", [])
    assert arrivals.count == 3


def test_a_push_that_was_given_up_is_forgotten() -> None:
    now = [0.0]
    arrivals = Arrivals()
    deliveries = Deliveries(arrivals, clock=lambda: now[0])
    deliveries.announced("s", ["x"])
    now[0] = 200.0
    deliveries.announced("t", ["x"])
    deliveries.stored("s", "x")
    assert arrivals.count == 0
    assert list(deliveries._missing) == ["t"]


def test_handlers_tell_and_answer_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def push_messages(request: PushAppMessagesRequest, state: str) -> PushAppMessagesResponse:
        return PushAppMessagesResponse(session_id=state, objects_to_push=["x"])

    def push_object(request: PushObjectRequest, state: str) -> PushObjectResponse:
        if state == "full":
            raise OSError(state)
        return PushObjectResponse(stored=True)

    handlers = types.ModuleType("handlers")
    handlers.push_messages, handlers.push_object = push_messages, push_object  # type: ignore[attr-defined]
    arrivals = Arrivals()
    watch(handlers, Deliveries(arrivals))
    assert handlers.push_messages(PushAppMessagesRequest(), state="s").objects_to_push == ["x"]
    piece = PushObjectRequest(session_id="s", object_id="x")
    with pytest.raises(OSError, match="full"):
        handlers.push_object(piece, state="full")
    assert arrivals.count == 0
    assert handlers.push_object(piece, "s").stored
    assert arrivals.count == 1


def test_flower_has_what_is_held_and_replaced() -> None:
    # Where Flower moves one of these, this says so before a fleet becomes slow.
    waiting = Waiting()
    for path in (*waiting.held, *waiting.told):
        assert ("POST", path) in PROTOBUF_REQUEST_TYPES
    for handlers in (fleet_handlers, runtime_handlers):
        assert callable(handlers.push_messages)
        assert callable(handlers.push_object)
    # Nothing is told by no bytes.
    for nothing in (PullMessagesResponse(), PullAppMessagesResponse(), AcquireTaskResponse()):
        assert nothing.SerializeToString() == b""
    assert waiting.held["/v1/runtime/pull-messages"].asker == TASK_TOKEN_HEADER
    assert "pull_objects(" in inspect.getsource(http_grid.HttpGrid.pull_messages)
