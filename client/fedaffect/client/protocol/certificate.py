"""A device's certificate: what the fleet's authority says about a device's key, for other devices to verify.

X.509, signed by the authority whose certificate each device got from its operator before it enrolled. It names the
device and its number in every run, so that who does not hold the authority's private key can neither invent a device
nor give one the number of another. A server's certificate, which the same authority signed, is no device's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from fedaffect.edge.errors import FedAffectError

# A device asks for the next one when a third is over; a revoked device's key counts for its neighbours until then.
CERTIFICATE_DAYS: Final = 30
RENEW_DAYS: Final = 20
_NAME: Final = "urn:fedaffect:device:"


class CertificateError(FedAffectError):
    """A certificate is none of a device of this fleet, or it has expired."""


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """What a certificate says.

    Parameters
    ----------
    device_id : str
    number : int
        The device's partition in every run, and its id in a secure sum.
    key : EllipticCurvePublicKey
        Of P-384.
    expires : datetime
        In UTC.
    """

    device_id: str
    number: int
    key: ec.EllipticCurvePublicKey
    expires: datetime


def certified_name(device_id: str, number: int) -> str:
    """The alternative name in a device's certificate, a URI."""
    return f"{_NAME}{device_id}:{number}"


def read_certificate(der: bytes, authorities: Sequence[bytes], moment: datetime | None = None) -> DeviceCertificate:
    """A device's certificate, verified.

    Parameters
    ----------
    der : bytes
        The certificate.
    authorities : sequence of bytes
        PEM or DER of the authorities that are believed.
    moment : datetime, optional
        Now if not given. From when on a certificate counts is not looked at: a device's clock may run behind.

    Raises
    ------
    CertificateError
        If no such authority signed it, it is no device's, or it has expired.
    """
    certificate = _read(der, tuple(authorities))
    if certificate.expires <= (moment or datetime.now(UTC)):
        raise CertificateError(f"the certificate of device {certificate.device_id} expired at {certificate.expires}")
    return certificate


@functools.lru_cache(maxsize=1024)
def _read(der: bytes, authorities: tuple[bytes, ...]) -> DeviceCertificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        if not any(_signed_by(certificate, authority) for authority in authorities):
            raise CertificateError("the certificate is not signed by this fleet's authority")
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (name,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        device_id, _, number = name.removeprefix(_NAME).rpartition(":")
        key = certificate.public_key()
        if name != certified_name(device_id, int(number)) or not device_id:
            raise CertificateError(f"{name[:80]!a} in a certificate names no device")
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            raise CertificateError("the certificate is not for a key of P-384, as devices have")
        return DeviceCertificate(device_id, int(number), key, certificate.not_valid_after_utc)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise CertificateError("the certificate is none of a device") from error


def _signed_by(certificate: x509.Certificate, authority: bytes) -> bool:
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
