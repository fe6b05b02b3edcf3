"""What of Flower's own answers goes to the audit log."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedaffect.server.fleet.superlink.program import Gate

ACTIVATE, CONTROL = "/v1/fleet/activate-node", "/v1/control/start-run"


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        # A SuperNode that starts with a key that is unknown or was revoked, and one that goes on with it.
        (ACTIVATE, 412, True),
        ("/v1/fleet/pull-messages", 401, True),
        (ACTIVATE, 200, False),
        (CONTROL, 412, False),
    ],
)
def test_a_device_that_flower_refuses_is_told_of(path: str, status: int, told: bool) -> None:
    heard: list[tuple[str, str]] = []

    async def answer(_: Request) -> Response:
        return Response(status_code=status)

    gate = Gate(
        Starlette(routes=[Route(path, answer, methods=["POST"])]),
        operators=["127.0.0.1"],
        largest_bytes=1000,
        refused=lambda client, path, why: heard.append((path, why)),
    )

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="https://fleet") as client:
            return await client.post(path, content=b"")

    assert asyncio.run(ask()).status_code == status
    assert [path for path, _ in heard] == ([path] if told else [])
