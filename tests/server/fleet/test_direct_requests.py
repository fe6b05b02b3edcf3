"""Flower's functions called without its web framework answer as they do within it, and refuse whom it refuses."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Depends
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, PullMessagesResponse
from flwr.proto.message_pb2 import PullObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.protobuf.client import ProtobufRequestContext
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.fleet.superlink.program import arguments_of
from fedaffect.server.flower_compat import direct_requests
from fedaffect.server.flower_compat.direct_requests import DirectRequests, answering_directly
from fedaffect.server.flower_compat.lean_state import write_less
from fedaffect.server.flower_compat.superlink import superlink_app

PULL, OBJECT, CONFIRM = (f"/v1/fleet/{name}" for name in ("pull-messages", "pull-object", "confirm-message-received"))
REPLIES = "/v1/runtime/pull-messages"

pytestmark = pytest.mark.filterwarnings("ignore:No path_separator found in configuration:DeprecationWarning")


class Both:
    """A SuperLink asked directly, and through all of Flower's layers."""

    def __init__(self, folder: Path) -> None:
        fleet = FleetFolder.create(folder / "fleet", FleetSettings())
        direct = superlink_app([*arguments_of(fleet), "--isolation", "process"])
        assert isinstance(direct, DirectRequests)
        self.direct, self.whole = direct, direct._app
        self.left = 0
        self.state: Any = self.whole.state.linkstate_factory.state()  # type: ignore[attr-defined]
        private = DeviceKey.make(folder / "device.key")._key
        self.key = private
        self.node = self.state.create_node("", "", public_key_to_bytes(private.public_key()), 0)
        self.state.activate_node(self.node, 30)

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.left += 1
            await self.whole(scope, receive, send)

        direct._app = counted

    def ask(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[httpx.Response, httpx.Response]:
        """Answers of both."""

        async def post(app: Any) -> httpx.Response:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="https://fleet") as client:
                kind = {"content-type": PROTOBUF_MEDIA_TYPE, "accept": PROTOBUF_MEDIA_TYPE}
                return await client.post(path, content=body, headers=kind | headers)

        return asyncio.run(post(self.direct)), asyncio.run(post(self.whole))

    def signed(self, key: ec.EllipticCurvePrivateKey | None = None) -> dict[str, str]:
        """What a SuperNode adds."""
        key = key or self.key
        context = ProtobufRequestContext("", ActivateNodeRequest(), httpx.Request("POST", "https://fleet"))
        NodeAuthHttpInterceptor(key, key.public_key()).intercept(context, lambda _: httpx.Response(200))
        return {name: value for name, value in context.request.headers.items() if name.startswith("flwr-")}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("direct"))


def test_a_node_that_signs_is_answered_directly_as_by_flower(both: Both) -> None:
    body = PullMessagesRequest(node=Node(node_id=both.node)).SerializeToString()
    both.left = 0
    direct, whole = both.ask(PULL, body, both.signed())
    assert both.left == 0
    assert (direct.status_code, direct.content) == (whole.status_code, whole.content) == (200, b"")
    assert direct.headers["content-type"] == whole.headers["content-type"]
    assert not PullMessagesResponse.FromString(direct.content).messages_list


def test_who_is_not_that_node_is_refused_as_by_flower(both: Both, tmp_path: Path) -> None:
    stranger = DeviceKey.make(tmp_path / "stranger.key")._key
    body = PullMessagesRequest(node=Node(node_id=both.node)).SerializeToString()
    other = PullMessagesRequest(node=Node(node_id=both.node + 1)).SerializeToString()
    for path, said, headers in (
        (PULL, body, {}),
        (PULL, body, both.signed(stranger)),
        (PULL, other, both.signed()),
        (OBJECT, body, both.signed(stranger)),
        (CONFIRM, body, {}),
        (REPLIES, b"", {}),
        (REPLIES, b"", {"flwr-task-token": "guessed"}),
    ):
        direct, whole = both.ask(path, said, headers)
        assert (direct.status_code, direct.text) == (whole.status_code, whole.text)
        assert direct.status_code in (401, 403)


def test_what_a_function_raises_is_said_by_flower(both: Both) -> None:
    body = PullObjectRequest(node=Node(node_id=both.node), run_id=7, object_id="a" * 64).SerializeToString()
    for said in (body, b"no protobuf"):
        direct, whole = both.ask(OBJECT, said, both.signed())
        assert (direct.status_code, direct.text) == (whole.status_code, whole.text)
        assert direct.status_code >= 400


def test_without_a_function_of_flowers_nothing_is_replaced(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(answering_directly(both.whole), DirectRequests)
    found = direct_requests.module_or_none
    monkeypatch.setattr(
        direct_requests, "module_or_none", lambda name: None if name.endswith("node_auth") else found(name)
    )
    assert answering_directly(both.whole) is both.whole


@pytest.mark.parametrize("where", ["layer", "dependency"])
def test_what_else_stands_before_flowers_functions_is_not_passed_by(
    both: Both, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "layer":
        more = [*both.whole.user_middleware, Middleware(GZipMiddleware)]  # type: ignore[attr-defined]
        monkeypatch.setattr(both.whole, "user_middleware", more)
    else:
        fleet = importlib.import_module("flwr.superlink.routers.fleet.router").router
        monkeypatch.setattr(fleet, "dependencies", [*fleet.dependencies, Depends(lambda: None)])
    assert answering_directly(both.whole) is both.whole


class State:
    """Counts what is written."""

    def __init__(self) -> None:
        self.cleaned = 0
        self.traffic: list[tuple[int, int, int]] = []

    def _cleanup_expired_task_tokens(self) -> None:
        self.cleaned += 1

    def store_traffic(self, run_id: int, *, bytes_sent: int, bytes_recv: int) -> None:
        """Keep it."""
        self.traffic.append((run_id, bytes_sent, bytes_recv))


def test_state_is_written_once_a_second_and_no_byte_is_lost() -> None:
    now = [0.0]
    state = State()
    assert write_less(state, lambda: now[0])
    for moment in (0.0, 0.2, 0.9, 1.0, 1.5, 2.5):
        now[0] = moment
        state._cleanup_expired_task_tokens()
        state.store_traffic(1, bytes_sent=10, bytes_recv=1)
    state.store_traffic(2, bytes_sent=5, bytes_recv=0)
    assert state.cleaned == 3
    assert state.traffic == [(1, 10, 1), (1, 30, 3), (1, 20, 2), (2, 5, 0)]


def test_a_state_that_has_other_functions_is_left_alone() -> None:
    assert not write_less(object())
