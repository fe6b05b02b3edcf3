"""The fleet's own certificate authority: it certifies the servers that devices connect to, and the devices' keys.

Elliptic curves (P-256) and X.509 from ``cryptography``. To the servers devices are known by bare public keys: Flower
authenticates SuperNodes that way, and revoking one is then a row in a database. Their certificates are for each other,
in secure sums, and for some weeks only, as nobody tells a device which of them were revoked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedaffect.client.protocol.certificate import CERTIFICATE_DAYS, certified_name
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import private_folder, read_private, write_private

_AUTHORITY_DAYS: Final = 3650
# The longest that browsers once accepted; long enough to be renewed by hand.
SERVER_DAYS: Final = 397
# Clocks of devices run behind.
_EARLIER: Final = timedelta(hours=1)


class Authority:
    """Key and certificate of the authority, in one private folder.

    Parameters
    ----------
    folder : Path
        Has ``ca.key`` (0600) and ``ca.pem``.
    key : Path, optional
        Where the key lies, if not there.
    """

    def __init__(self, folder: Path, key: Path | None = None) -> None:
        self.folder = folder
        self.certificate_path = folder / "ca.pem"
        self.key_path = key or folder / "ca.key"

    @classmethod
    def create(cls, folder: Path, name: str) -> Authority:
        """Make a new one.

        Raises
        ------
        RunError
            If there is one already.
        """
        authority = cls(private_folder(folder))
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(f"{name} authority")
        certificate = (
            _builder(subject, subject, key.public_key(), _AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(authority.key_path, _pem(key))
        write_private(authority.certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
        return authority

    def issue(self, hosts: Sequence[str], *, days: float | None = None) -> tuple[bytes, bytes]:
        """A certificate for a server with these names, and its private key, as PEM.

        Parameters
        ----------
        hosts : sequence of str
            Host names and addresses; each becomes a subject alternative name.
        days : float, optional
            How long it is valid; negative gives one that has expired.

        Raises
        ------
        ConfigError
            If no host is given.
        """
        if not hosts:
            raise ConfigError("a certificate needs the names by which devices reach the server; give --host")
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            hosts[0],
            key.public_key(),
            SERVER_DAYS if days is None else days,
            ExtendedKeyUsageOID.SERVER_AUTH,
            [_alternative(host) for host in hosts],
        )
        return certificate, _pem(key)

    def require_own_key(self) -> None:
        """Check that the private key is this authority's.

        Raises
        ------
        ConfigError
            If it is another's, or none.
        """
        if self._key().public_key() != self._certificate().public_key():
            raise ConfigError(f"{self.key_path} is not the key of {self.certificate_path}; give this fleet's ca.key")

    def certify(self, device_id: str, number: int, public_key: str, *, days: float = CERTIFICATE_DAYS) -> bytes:
        """A certificate of a device's key, as PEM; see :mod:`fedaffect.client.protocol.certificate`.

        Parameters
        ----------
        device_id : str
        number : int
            Its partition in every run.
        public_key : str
            In OpenSSH's form.
        days : float, optional

        Raises
        ------
        ConfigError
            If it is no elliptic-curve key, or the authority's private key is not there.
        """
        key = serialization.load_ssh_public_key(public_key.encode())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ConfigError(f"the key of device {device_id} is not an elliptic-curve key; have it enrolled again")
        name = x509.UniformResourceIdentifier(certified_name(device_id, number))
        return self._sign(device_id, key, days, ExtendedKeyUsageOID.CLIENT_AUTH, [name])

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        days: float,
        purpose: x509.ObjectIdentifier,
        names: Sequence[x509.GeneralName],
    ) -> bytes:
        authority_key = self._key()
        certificate = (
            _builder(_named(name), self._certificate().subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate_path.read_bytes())

    def _key(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = serialization.load_pem_private_key(read_private(self.key_path), None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(
                f"{self.key_path} is not an elliptic-curve key; restore the one that fedaffect fleet init made"
            )
        return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, until) - _EARLIER)
        .not_valid_after(until)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
