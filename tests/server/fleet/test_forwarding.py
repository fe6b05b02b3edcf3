"""What the gate passes on travels over connections that are used again, however many there were at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from fedaffect.server.fleet.superlink.forwarding import Forwarder

_AT_ONCE = 30


class Upstream:
    """An HTTP server at a Unix socket that counts connections and answers what it was sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Upstream:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            (length,) = (int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length"))
            body = await reader.readexactly(length)
            if body == b"hang up":
                writer.close()
                return
            # All of them are on their way at once.
            await asyncio.sleep(0)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (length, body))


async def _asked(app: Forwarder, body: bytes) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
        return await client.post("/v1/fleet/pull-messages", content=body)


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async def act() -> int:
        async with Upstream(tmp_path / "s") as upstream:
            app = Forwarder(upstream.path)
            for number in range(10):
                assert (await _asked(app, str(number).encode())).content == str(number).encode()
            return upstream.connections

    assert asyncio.run(act()) == 1


def test_many_at_once_have_one_each_and_leave_them_to_those_after(tmp_path: Path) -> None:
    async def act() -> int:
        async with Upstream(tmp_path / "s") as upstream:
            app = Forwarder(upstream.path)
            for _ in range(3):
                said = [str(number).encode() for number in range(_AT_ONCE)]
                answers = await asyncio.gather(*(_asked(app, body) for body in said))
                assert [answer.content for answer in answers] == said
            return upstream.connections

    assert 1 <= asyncio.run(act()) <= _AT_ONCE


def test_a_server_that_was_started_again_is_reached_and_one_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    async def act() -> None:
        async with Upstream(tmp_path / "s") as upstream:
            app = Forwarder(upstream.path)
            assert (await _asked(app, b"1")).status_code == 200
            assert (await _asked(app, b"hang up")).status_code == 503
            assert (await _asked(app, b"2")).content == b"2"
        upstream.path.unlink(missing_ok=True)
        assert (await _asked(app, b"3")).status_code == 503
        async with Upstream(upstream.path):
            assert (await _asked(app, b"4")).content == b"4"

    asyncio.run(act())
