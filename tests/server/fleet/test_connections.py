"""Callers that connect and say little or nothing: they are dropped, and honest ones are answered meanwhile."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.support.served import served

from fedaffect.server import uvicorn_compat
from fedaffect.server.fleet.setup import tls
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.registry import Registry

HEAD = b"POST /v1/device HTTP/1.1\r\nHost: localhost\r\n"
IDLE = 40


class Service:
    """A service whose patience with callers is a second."""

    def __init__(self, folder: FleetFolder, url: str) -> None:
        self.context = ssl.create_default_context(cafile=str(folder.authority.certificate_path))
        self.url, self.port = url, int(url.rpartition(":")[2])

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=300)

    def dial_tls(self) -> socket.socket:
        return self.context.wrap_socket(self.dial(), server_hostname="localhost")

    def answers(self) -> bool:
        return httpx.get(f"{self.url}/livez", verify=self.context, timeout=300).status_code == 200


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(uvicorn_compat, "_HEAD_S", 1.0)
    monkeypatch.setattr(uvicorn_compat, "_BODY_S", 1.0)
    monkeypatch.setattr(tls, "_KEEP_ALIVE_S", 1)
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    folder = replace(folder, settings=replace(folder.settings, connections_per_address=IDLE + 2))
    with Registry.open(folder.settings.registry) as registry, served(folder, registry) as url:
        yield Service(folder, url)


def silent(service: Service) -> socket.socket:
    return service.dial()


def silent_after_tls(service: Service) -> socket.socket:
    return service.dial_tls()


def half_a_head(service: Service) -> socket.socket:
    connection = service.dial_tls()
    connection.sendall(HEAD)
    return connection


def half_a_body(service: Service) -> socket.socket:
    connection = service.dial_tls()
    connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
    return connection


@pytest.mark.parametrize("connect", [silent, silent_after_tls, half_a_head, half_a_body])
def test_idle_connections_are_dropped_and_honest_requests_answered(
    service: Service, connect: Callable[[Service], socket.socket]
) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(service)) for _ in range(IDLE)]
        assert service.answers()
        assert all(_is_dropped(connection) for connection in idle)
        # What they held is free for others.
        assert all(stack.enter_context(service.dial_tls()) for _ in range(IDLE))


def test_one_address_holds_so_many_connections_and_no_more(service: Service) -> None:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(service.dial()) for _ in range(3 * IDLE)]
        # Before TLS, and at once: not after a second.
        assert all(_is_dropped(connection) for connection in held[IDLE + 2 :])
        assert all(_is_dropped(connection) for connection in held)
    assert service.answers()


def test_a_connection_that_is_silent_after_an_answer_is_dropped(service: Service) -> None:
    with service.dial_tls() as connection:
        for _ in range(2):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            heard = b""
            while b'"alive"' not in heard:
                got = connection.recv(4096)
                assert got, heard
                heard += got
            assert heard.startswith(b"HTTP/1.1 200")
        # Nothing more is said, and nothing but the end is heard.
        while connection.recv(4096):
            pass


def test_an_answered_connection_is_kept_no_longer_than_one_without_a_request(tmp_path: Path) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings())
    config = tls.https_config(httpx.ASGITransport, folder, 0)  # type: ignore[arg-type]
    assert config.timeout_keep_alive <= uvicorn_compat._HEAD_S


def _is_dropped(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
