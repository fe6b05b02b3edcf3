"""TLS and mutual TLS against the real server, with certificates made here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.support.word_engine import WordEngine

from fedaffect.edge.cloud import CloudUnreachable, TlsSettings, connect
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import Sample
from fedaffect.server.serving.app import ServerTls, background


class Authority:
    """Signs certificates and writes them as PEM."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.certificate = self._write(f"{name}.pem", certificate)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key, good for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = self._builder(subject, key).add_extension(here, False)
        key_file = self._folder / f"{name}.key"
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return self._write(f"{name}.pem", certificate), key_file

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )

    def _write(self, file: str, builder: x509.CertificateBuilder) -> Path:
        (self._folder / file).write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return self._folder / file


@pytest.mark.slow
def test_tls_both_ways(tmp_path: Path) -> None:
    ours, strange = Authority(tmp_path, "ours"), Authority(tmp_path, "strange")
    server_tls = ServerTls(*ours.issue("server"), client_authority=ours.certificate)
    device = TlsSettings(ours.certificate, *ours.issue("device"))
    refused = [
        TlsSettings(ours.certificate),
        TlsSettings(strange.certificate, device.certificate, device.key),
        TlsSettings(ours.certificate, *strange.issue("stranger")),
    ]
    with background(WordEngine(), tls=server_tls) as server:
        for address in (server.rest_url, f"grpcs://{server.grpc_target}"):
            client = connect(address, tls=device)
            assert client.predict(Sample(id="s", text="joy"), request_id=f"r-{address[:4]}").label == "joy"
            client.close()
            for settings in refused:
                client = connect(address, tls=settings)
                with pytest.raises(CloudUnreachable):
                    client.predict(Sample(id="s", text="joy"), request_id="r", deadline_ms=20_000.0)
                client.close()


def test_files_that_are_no_tls_files(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nothing")
    with pytest.raises(ConfigError, match="does not exist"):
        TlsSettings(tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="both a certificate and its private key"):
        TlsSettings(certificate=nonsense)
    with pytest.raises(ConfigError, match="cannot be used"):
        connect("https://127.0.0.1:1", tls=TlsSettings(nonsense))
    for address in ("http://127.0.0.1:1", "grpc://127.0.0.1:1"):
        with pytest.raises(ConfigError, match="TLS settings"):
            connect(address, tls=TlsSettings(nonsense))
