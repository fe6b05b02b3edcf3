"""Whom a server without keys answers, and what one with keys keeps to itself: over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.small_engine import SmallEngine
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import Registry, api_keys
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import CloudServer, Listen, background
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.app import rest_over

PATHS = ("/v1/models", "/readyz", "/metrics", "/openapi.json")
OWN = ("localhost", "localhost:8080", "127.0.0.1", "127.9.9.9:1", "[::1]:8080")
FOREIGN = ("rebound.example", "rebound.example:8080", "localhost.example", "127.0.0.1.example", "10.0.0.1", "[::2]", "")


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudServer]:
    with background(SmallEngine()) as server:
        yield server


@pytest.mark.parametrize("host", OWN)
def test_callers_of_this_machine_are_answered(cloud: CloudServer, host: str) -> None:
    for path in PATHS:
        assert httpx.get(f"{cloud.rest_url}{path}", headers={"Host": host}).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_was_rebound_is_refused_and_counted(cloud: CloudServer, host: str) -> None:
    def counted() -> float:
        lines = httpx.get(f"{cloud.rest_url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("fedaffect_refusals_total{"))

    before = counted()
    for path in PATHS:
        reply = httpx.get(f"{cloud.rest_url}{path}", headers={"Host": host})
        assert reply.status_code == 403
        assert "fedaffect server keys create" in reply.json()["error"]["message"]
    asked = httpx.post(f"{cloud.rest_url}/v1/predict", json={"text": "well"}, headers={"Host": host})
    assert asked.status_code == 403
    assert counted() == before + len(PATHS) + 1


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:8080", 200),
        ("https://[::1]", 200),
        ("https://pages.example", 403),
        ("http://localhost.pages.example", 403),
        ("http://localhost@pages.example", 403),
        ("null", 403),
        ("file://", 403),
        ("", 403),
    ],
)
def test_other_peoples_pages_are_refused(cloud: CloudServer, origin: str, status: int) -> None:
    # A form needs no leave of the server's to be sent by a page.
    reply = httpx.post(f"{cloud.rest_url}/v1/predict", files={"text": (None, "well")}, headers={"Origin": origin})
    assert reply.status_code == status
    url = f"{cloud.rest_url.replace('http', 'ws')}/v1/stream"
    headers = {"Origin": origin}
    if status == 200:
        with connect(url, additional_headers=headers):
            return
    with pytest.raises(InvalidStatus) as caught, connect(url, additional_headers=headers):
        pass
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-origin", 200), ("none", 200)])
def test_an_address_in_another_peoples_page_is_refused(cloud: CloudServer, site: str, status: int) -> None:
    # As a browser asks for a picture, which has no Origin.
    assert httpx.get(f"{cloud.rest_url}/metrics", headers={"Sec-Fetch-Site": site}).status_code == status


@pytest.mark.slow
def test_a_server_with_keys_tells_nobody_without_one(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        tokens = {scope: api_keys.create(registry, scope, [scope])[1] for scope in ("predict", "metrics", "admin")}
        with background(SmallEngine(), registry=registry, access=Access(registry)) as server:

            def status(path: str, scope: str | None) -> int:
                headers = {"Host": "affect.example", "Origin": "https://affect.example"}
                if scope is not None:
                    headers["Authorization"] = f"Bearer {tokens[scope]}"
                return httpx.get(f"{server.rest_url}{path}", headers=headers).status_code

            assert [status(path, None) for path in PATHS] == [401, 200, 401, 401]
            assert [status(path, "predict") for path in PATHS] == [200, 200, 403, 200]
            assert [status(path, "metrics") for path in PATHS] == [403, 200, 200, 403]
            assert [status(path, "admin") for path in PATHS] == [200] * 4
            assert status("/livez", None) == 200


def test_a_page_that_the_operator_named_may_call_and_others_may_not() -> None:
    named, other = "https://app.example", "https://app.example.evil.example"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}

    async def replies() -> list[tuple[int, str | None]]:
        transport = httpx.ASGITransport(rest_over(Gateway(SmallEngine()), [named]))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as app:
            of_page = {"Sec-Fetch-Site": "cross-site"}
            told = [await app.options("/v1/predict", headers={"Origin": each, **asked}) for each in (named, other)]
            told += [
                await app.post("/v1/predict", json={"text": "well"}, headers=of_page | headers)
                for headers in ({"Origin": named}, {"Origin": other}, {"Origin": named, "Host": "rebound.example"})
            ]
        assert not any("access-control-allow-credentials" in reply.headers for reply in told)
        return [(reply.status_code, reply.headers.get("access-control-allow-origin")) for reply in told]

    assert asyncio.run(replies()) == [(200, named), (400, None), (200, named), (403, None), (403, named)]


@pytest.mark.parametrize("origin", ["*", "null", "app.example", "https://app.example/", "https://u@app.example", ""])
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="origin"):
        Listen(origins=(origin,))
