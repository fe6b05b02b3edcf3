"""What keeps a server from starting is named with its remedy, before anything half starts."""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import text

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.findings import require, room
from fedaffect.server import checks
from fedaffect.server.cli.fleet import fleet
from fedaffect.server.demo.machines import free_ports
from fedaffect.server.fleet import before_start
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.registry import Registry


@pytest.fixture
def folder(tmp_path: Path) -> FleetFolder:
    superlink, service = free_ports(2)
    return FleetFolder.create(tmp_path / "fleet", FleetSettings(superlink_port=superlink, service_port=service))


@pytest.mark.parametrize("name", ["superlink_port", "service_port"])
def test_a_taken_port(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        superlink, service = free_ports(2)
        ports = {"superlink_port": superlink, "service_port": service, name: port}
        folder = FleetFolder.create(tmp_path / "fleet", FleetSettings(**ports))
        with pytest.raises(ConfigError, match=f"port {port}: cannot be listened at .*set {name.replace('_', '-')} in"):
            require(before_start.of_ports(folder))
    assert require(before_start.of_ports(folder)) == []


def test_a_disk_that_is_nearly_full(tmp_path: Path) -> None:
    assert room(tmp_path, "the fleet", 1).state == "good"
    said = (
        rf"disk of the fleet: .* are left, and 1000000000 are wanted; make room on the disk of {tmp_path}, or move it"
    )
    with pytest.raises(ConfigError, match=said):
        require([room(tmp_path / "not there yet", "the fleet", 1_000_000_000, "move it")])


def test_a_certificate_that_ends_soon_and_one_that_has_ended(folder: FleetFolder) -> None:
    assert require(before_start.of_folder(folder)) == []
    folder.renew_certificate(days=10)
    (said,) = require(before_start.of_folder(folder))
    assert f"fedaffect fleet rotate --certificate --fleet {folder.path}" in said
    folder.renew_certificate(days=-1)
    with pytest.raises(ConfigError, match=r"certificate: ended .* fedaffect fleet rotate --certificate"):
        require(before_start.of_folder(folder))


def test_a_clock_that_stands_before_the_certificate_was_made(folder: FleetFolder) -> None:
    folder.certificate_path.write_bytes(_of_tomorrow())
    with pytest.raises(ConfigError, match=r"this machine's clock says .* timedatectl set-ntp true"):
        require(before_start.of_folder(folder))


def test_up_starts_nothing_where_its_clock_and_the_databases_are_apart(
    folder: FleetFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(checks, "database_now", lambda _session: fast)
    done = CliRunner().invoke(fleet, ["up", "--fleet", str(folder.path)])
    assert isinstance(done.exception, ConfigError)
    assert re.search(r"clock: .* (3600|3599) s apart; set both: timedatectl set-ntp true", str(done.exception))
    assert not folder.logs.exists()


def _of_tomorrow() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fleet")])
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(tomorrow)
        .not_valid_after(tomorrow + timedelta(days=400))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def test_up_starts_nothing_on_a_database_of_a_newer_version(folder: FleetFolder) -> None:
    with Registry.open(folder.settings.registry) as registry, registry.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    done = CliRunner().invoke(fleet, ["up", "--fleet", str(folder.path)])
    assert isinstance(done.exception, ConfigError)
    assert "made by another version of fedaffect" in str(done.exception)
    assert not folder.logs.exists()


def test_up_starts_nothing_behind_a_certificate_that_has_ended(folder: FleetFolder) -> None:
    folder.renew_certificate(days=-1)
    done = CliRunner().invoke(fleet, ["up", "--fleet", str(folder.path)])
    assert isinstance(done.exception, ConfigError)
    assert not folder.logs.exists()
