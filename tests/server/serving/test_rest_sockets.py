"""Callers who do not behave: slow, silent, half gone, or sending more than they said."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from tests.support.small_engine import SmallEngine

from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.gateway.limits import Limits

LIMITS = Limits(body_bytes=100_000, body_s=4.0, default_deadline_ms=600_000, longest_deadline_ms=600_000)
BODY = b'{"text":"a"}'


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudServer]:
    with background(SmallEngine(), limits=LIMITS) as server:
        yield server


def dial(cloud: CloudServer) -> socket.socket:
    host, _, port = cloud.rest_url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=120)


def head(length: int | None = None, more: bytes = b"") -> bytes:
    lines = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + more
    return lines + (b"" if length is None else b"Content-Length: %d\r\n" % length) + b"\r\n"


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    while block := connection.recv(65536):
        received += block
    return received


def read_reply(connection: socket.socket) -> bytes:
    """One reply of a connection that stays open: its head says how much comes, in however many pieces."""
    received = b""
    while True:
        top, end, body = received.partition(b"\r\n\r\n")
        sizes = [line for line in top.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if end and len(body) >= int(sizes[0].partition(b":")[2]):
            return received
        block = connection.recv(65536)
        if not block:
            return received
        received += block


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


def error_type(reply: bytes) -> str:
    return str(json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["type"])


@pytest.mark.slow
def test_a_body_that_never_ends_is_given_up(cloud: CloudServer) -> None:
    with dial(cloud) as connection:
        connection.sendall(head(1000) + b'{"text":')
        reply = read_all(connection)
    assert (status(reply), error_type(reply)) == (408, "TooSlow")


def test_a_body_that_comes_byte_by_byte_in_time_is_answered(cloud: CloudServer) -> None:
    with dial(cloud) as connection:
        connection.sendall(head(len(BODY), b"Connection: close\r\n"))
        for byte in BODY:
            connection.sendall(bytes([byte]))
        assert status(read_all(connection)) == 200


def test_who_closes_the_sending_side_still_gets_the_answer(cloud: CloudServer) -> None:
    with dial(cloud) as connection:
        connection.sendall(head(len(BODY)) + BODY)
        connection.shutdown(socket.SHUT_WR)
        assert status(read_all(connection)) == 200


def test_who_closes_in_the_middle_of_a_body_is_let_go(cloud: CloudServer) -> None:
    with dial(cloud) as connection:
        connection.sendall(head(1000) + b'{"te')
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    assert httpx.post(f"{cloud.rest_url}/v1/predict", content=BODY, headers=JSON, timeout=120).status_code == 200


JSON = {"Content-Type": "application/json"}


@pytest.mark.slow
def test_a_body_announced_too_large_is_refused_before_it_comes(cloud: CloudServer) -> None:
    with dial(cloud) as connection:
        connection.sendall(head(10**12))
        reply = read_all(connection)
    assert (status(reply), error_type(reply)) == (413, "RequestTooLarge")


@pytest.mark.slow
def test_a_body_that_grows_too_large_is_refused_while_it_comes(cloud: CloudServer) -> None:
    with dial(cloud) as connection:
        connection.sendall(head(more=b"Transfer-Encoding: chunked\r\n"))
        chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
        # The server may have closed its side by the last of them.
        with suppress(ConnectionError):
            for _ in range(30):
                connection.sendall(chunk)
        reply = read_reply(connection)
    assert (status(reply), error_type(reply)) == (413, "RequestTooLarge")


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET /nothing\r\n\r\n", b"POST /v1/predict HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_http_is_answered_with_400(cloud: CloudServer, noise: bytes) -> None:
    with dial(cloud) as connection:
        connection.sendall(noise + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert status(read_all(connection)) in {400, 404, 405}


def test_two_requests_in_one_packet_are_answered_in_order(cloud: CloudServer) -> None:
    with dial(cloud) as connection:
        last = head(len(BODY), b"Connection: close\r\n") + BODY
        connection.sendall(head(len(BODY)) + BODY + last)
        assert read_all(connection).count(b"HTTP/1.1 200") == 2


@pytest.mark.slow
def test_many_at_once_are_all_answered(cloud: CloudServer) -> None:
    def ask(number: int) -> tuple[str, str]:
        request = {"request_id": f"n-{number}", "text": f"number {number}"}
        return request["request_id"], http.post(f"{cloud.rest_url}/v1/predict", json=request).json()["request_id"]

    with httpx.Client(timeout=120) as http, ThreadPoolExecutor(12) as pool:
        for asked, answered in pool.map(ask, range(60)):
            assert asked == answered


def test_silent_connections_do_not_keep_others_out(cloud: CloudServer) -> None:
    silent = [dial(cloud) for _ in range(200)]
    try:
        reply = httpx.post(f"{cloud.rest_url}/v1/predict", content=BODY, headers=JSON, timeout=120)
        assert reply.status_code == 200
    finally:
        for connection in silent:
            connection.close()


def test_a_drain_drops_nothing_that_was_taken_and_refuses_the_rest() -> None:
    engine = SmallEngine()
    engine.hold.clear()
    outcomes: list[int | str] = []
    with (
        httpx.Client(timeout=120) as http,
        ThreadPoolExecutor(20) as pool,
        background(engine, limits=LIMITS, drain_s=600) as cloud,
    ):

        def ask(number: int) -> int | str:
            try:
                return http.post(f"{cloud.rest_url}/v1/predict", json={"text": str(number)}).status_code
            except httpx.TransportError as error:
                return type(error).__name__

        taken = [pool.submit(ask, number) for number in range(16)]
        while engine.asked < 16:
            time.sleep(0.01)
        cloud.request_stop()
        while http.get(f"{cloud.rest_url}/readyz").status_code != 503:
            time.sleep(0.01)
        late = ask(99)
        engine.release()
        outcomes = [future.result() for future in taken]
    assert outcomes == [200] * 16
    assert late == 503
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{cloud.rest_url}/livez")
    assert engine.closed


def test_a_full_server_refuses_before_the_body_comes_and_keeps_the_connection() -> None:
    engine = SmallEngine()
    with background(engine, limits=LIMITS) as cloud, dial(cloud) as connection:
        engine.full = True
        connection.sendall(head(len(BODY)))
        refused = read_reply(connection)
        assert (status(refused), error_type(refused)) == (429, "Overloaded")
        assert b"retry-after: 3" in refused.lower()
        assert engine.asked == 0
        engine.full = False
        connection.sendall(BODY + head(len(BODY), b"Connection: close\r\n") + BODY)
        assert status(read_all(connection)) == 200


def test_a_head_that_does_not_end_is_cut_off_and_large_bodies_after_small_heads_are_not(cloud: CloudServer) -> None:
    with dial(cloud) as connection:
        body = 90_000 * b" " + BODY
        for _ in range(2):
            connection.sendall(head(len(body)) + body)
            assert status(read_reply(connection)) == 200
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall(10_000 * (b"x: " + 10_000 * b"a" + b"\r\n"))


def test_headers_behind_a_body_are_bounded(cloud: CloudServer) -> None:
    begin = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    trailers = b"".join(b"x-%d: %s\r\n" % (number, b"y" * 10_000) for number in range(2_000))
    with dial(cloud) as connection, pytest.raises(OSError):
        connection.sendall(begin + trailers)
