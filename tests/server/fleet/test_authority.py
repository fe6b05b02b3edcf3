from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedaffect.client.device.errors import ServiceAway
from fedaffect.client.device.service import FleetService
from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.edge.system.files import read_private
from fedaffect.server.fleet.setup.authority import Authority, expires
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.fleet.setup.tls import server_context


@pytest.fixture
def folder(tmp_path: Path) -> FleetFolder:
    return FleetFolder.create(tmp_path / "fleet", FleetSettings(name="test"))


def test_everything_secret_is_readable_by_its_owner_only(folder: FleetFolder) -> None:
    for path in folder.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert len(folder.operator_token()) >= 40
    folder.token_path.chmod(0o644)
    with pytest.raises(RunError, match="chmod 600"):
        folder.operator_token()


def test_a_fleet_is_not_made_over_another(folder: FleetFolder) -> None:
    key = folder.authority.key_path.read_bytes()
    with pytest.raises(RunError, match="not written over"):
        FleetFolder.create(folder.path, FleetSettings())
    assert folder.authority.key_path.read_bytes() == key


def test_settings_come_back_as_they_were(folder: FleetFolder) -> None:
    assert FleetFolder.open(folder.path).settings == folder.settings
    with pytest.raises(ConfigError, match="fedaffect fleet init"):
        FleetFolder.open(folder.path / "elsewhere")


def ask(pem: Path, authority: Path) -> None:
    """One TLS handshake with a server of that certificate, by the device's own client."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        context = server_context(pem)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        said = b""
                        while not said.endswith(b"\r\n\r\n{}") and (more := secure.recv(65536)):
                            said += more
                        secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                except (ssl.SSLError, OSError):
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with FleetService(f"https://localhost:{listening.getsockname()[1]}", authority) as service:
                service.post("/v1/device", {})
        finally:
            thread.join()


def test_a_device_believes_the_fleets_certificate_and_no_other(folder: FleetFolder, tmp_path: Path) -> None:
    ask(folder.server_pem, folder.authority.certificate_path)
    other = Authority.create(tmp_path / "other", "other")
    with pytest.raises(ServiceAway, match="from the operator"):
        ask(folder.server_pem, other.certificate_path)


def test_an_expired_certificate_is_refused_and_a_renewed_one_taken(folder: FleetFolder) -> None:
    folder.renew_certificate(days=-1)
    with pytest.raises(ServiceAway, match="expired"):
        ask(folder.server_pem, folder.authority.certificate_path)
    before = read_private(folder.server_pem)
    folder.renew_certificate()
    assert read_private(folder.server_pem) != before
    assert expires(folder.certificate_path) > datetime.now(UTC)
    ask(folder.server_pem, folder.authority.certificate_path)


def test_a_device_says_nothing_in_the_clear(folder: FleetFolder) -> None:
    with pytest.raises(ConfigError, match="in the clear"):
        FleetService("http://localhost:1", folder.authority.certificate_path)
