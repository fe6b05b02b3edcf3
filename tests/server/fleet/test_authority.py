from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedaffect.client.device.errors import DeviceRefusedError, ServiceAway
from fedaffect.client.device.service import FleetService
from fedaffect.edge.errors import ConfigError, RunError
from fedaffect.edge.system.files import read_private
from fedaffect.server.checks import validity
from fedaffect.server.fleet.setup.authority import Authority
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


def ask(
    pem: Path,
    authority: Path,
    answer: Iterable[bytes] = (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",),
    use: Callable[[FleetService], object] = lambda service: service.post("/v1/device", {}),
) -> None:
    """One TLS handshake with a server of that certificate, by the device's own client."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        context = server_context(pem)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                try:
                    with context.wrap_socket(connection, server_side=True) as secure:
                        said = b""
                        ends = {b"P": b"\r\n\r\n{}", b"G": b"\r\n\r\n", b"": b"."}
                        while not said.endswith(ends[said[:1]]) and (more := secure.recv(65536)):
                            said += more
                        for part in answer:
                            secure.sendall(part)
                except (ssl.SSLError, OSError):
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with FleetService(f"https://localhost:{listening.getsockname()[1]}", authority) as service:
                use(service)
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
    assert validity(folder.certificate_path)[1] > datetime.now(UTC)
    ask(folder.server_pem, folder.authority.certificate_path)


def _endless(status: str) -> Iterator[bytes]:
    yield f"HTTP/1.1 {status}\r\n\r\n".encode()
    while True:
        yield bytes(1 << 20)


def test_an_answer_without_end_is_given_up(
    folder: FleetFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedaffect.client.device.service.LARGEST_BYTES", 3 << 20)
    target = tmp_path / "device" / "bundle.tar"
    for use in (lambda service: service.post("/v1/device", {}), lambda service: service.download("/b", target)):
        for status in ("200 OK", "403 Forbidden", "500 Broken"):
            with pytest.raises(DeviceRefusedError, match=r"more than the [\d,]+ bytes that may come"):
                ask(folder.server_pem, folder.authority.certificate_path, _endless(status), use)
    assert list(target.parent.iterdir()) == []


def test_a_packed_answer_is_not_unpacked(folder: FleetFolder, tmp_path: Path) -> None:
    packed = gzip.compress(gzip.compress(bytes(50_000_000)))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    for use in (lambda service: service.post("/v1/device", {}), lambda service: service.download("/b", tmp_path / "b")):
        with pytest.raises(DeviceRefusedError, match="sends what is packed"):
            ask(folder.server_pem, folder.authority.certificate_path, [head, packed], use)


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"[", b""])
def test_what_is_no_answer_of_the_service_is_said_to_be_none(folder: FleetFolder, body: bytes) -> None:
    answer = [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body), body]
    with pytest.raises(ServiceAway, match="does not answer as a fleet's service does"):
        ask(folder.server_pem, folder.authority.certificate_path, answer)


def test_a_device_says_nothing_in_the_clear(folder: FleetFolder) -> None:
    with pytest.raises(ConfigError, match="in the clear"):
        FleetService("http://localhost:1", folder.authority.certificate_path)
