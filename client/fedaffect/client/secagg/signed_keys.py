"""A client's keys of one attempt, signed by the key that it is known by, so that a server cannot swap or invent them.

What is signed names run, round, attempt and client, both public keys and the commitment; the certificate beside it says
whose key signed (:mod:`fedaffect.client.protocol.certificate`). A client without a certificate, as in a simulation,
sends its keys alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedaffect.client.protocol.certificate import CertificateError, DeviceCertificate, read_certificate
from fedaffect.client.secagg.agreement import KEY_BYTES
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.session import Session

# Two public keys, and what the seed of the own mask can be known by once it is put together again.
KEYS_BYTES = 3 * KEY_BYTES
_LARGEST_BYTES = 4096


class NotSignedError(SecAggError):
    """A neighbour's keys are not signed, and this client insists on it."""


@dataclass(frozen=True, slots=True)
class SignedKeys:
    """An answer to ``keys``.

    Parameters
    ----------
    keys : bytes
        Two public keys, for shares and for masks, and a commitment to the seed of its own mask.
    insists : bool
        Whether its client goes on with signed neighbours alone; signed too.
    signature : bytes
        ECDSA over P-384 with SHA-256; empty where nobody signed.
    certificate : bytes
        DER.
    """

    keys: bytes
    insists: bool = False
    signature: bytes = b""
    certificate: bytes = b""

    def to_bytes(self) -> bytes:
        """As bytes that :meth:`from_bytes` reads: the keys alone where nobody signed."""
        if not self.signature:
            return self.keys
        return b"".join(
            (self.keys, bytes([self.insists]), bytes([len(self.signature)]), self.signature, self.certificate)
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> SignedKeys:
        """Read back what :meth:`to_bytes` wrote; nothing is verified.

        Raises
        ------
        SecAggError
            If it is malformed.
        """
        keys, rest = data[:KEYS_BYTES], data[KEYS_BYTES:]
        if len(keys) == KEYS_BYTES and not rest:
            return cls(keys)
        flag, length, behind = rest[:1], int.from_bytes(rest[1:2], "big"), rest[2:]
        signature, certificate = behind[:length], behind[length:]
        # A signature that was cut short leaves nothing for the certificate.
        if flag not in (b"\x00", b"\x01") or not signature or not certificate or len(data) > _LARGEST_BYTES:
            raise SecAggError(
                f"public keys and a commitment have {KEYS_BYTES} bytes, and behind them a signature or nothing; "
                f"{len(data)} bytes are refused"
            )
        return cls(keys, flag == b"\x01", signature, certificate)


class Credentials(Protocol):
    """Signs a client's keys, and judges those of its neighbours."""

    def sign(self, session: Session, client: int, keys: bytes) -> SignedKeys:
        """Sign this client's keys, where it can.

        Raises
        ------
        SecAggError
            If it is asked under another's number.
        """

    def require(self, session: Session, client: int, signed: SignedKeys) -> None:
        """Go on with a neighbour.

        Raises
        ------
        SecAggError
            If a signature is wrong; or missing, where this client insists on one.
        """


class NoCredentials:
    """Of clients that no authority vouches for: simulations, and nodes that do not know their device's key."""

    def sign(self, session: Session, client: int, keys: bytes) -> SignedKeys:
        """The keys alone."""
        return SignedKeys(keys)

    def require(self, session: Session, client: int, signed: SignedKeys) -> None:
        """Take any: there is nothing to verify them with."""


def statement(session: Session, client: int, keys: bytes, insists: bool) -> bytes:
    """What a client signs; no other thing that its key signs begins like it."""
    return session.context("signed keys", client) + b"|" + bytes([insists]) + keys


def verified(signed: SignedKeys, session: Session, client: int, authorities: tuple[bytes, ...]) -> DeviceCertificate:
    """Whose keys these are.

    Parameters
    ----------
    signed : SignedKeys
    session : Session
    client : int
        Whose keys the server says that they are.
    authorities : tuple of bytes
        PEM of the authorities that are believed.

    Raises
    ------
    SecAggError
        If they are not signed, for this attempt, by the key that the authority certified for that client.
    """
    try:
        certificate = read_certificate(signed.certificate, authorities)
        if certificate.number != client:
            raise CertificateError(f"the certificate is that of client {certificate.number}")
        said = statement(session, client, signed.keys, signed.insists)
        certificate.key.verify(signed.signature, said, ec.ECDSA(hashes.SHA256()))
    except (CertificateError, InvalidSignature) as error:
        why = f" ({error})" if str(error) else ""
        raise SecAggError(
            f"the keys of client {client} are not signed by the device that the fleet's authority knows under that "
            f"number{why}; somebody may stand between, and the attempt is refused"
        ) from error
    return certificate
