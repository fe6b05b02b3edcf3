"""A device's key, and how its requests to the service are signed.

ECDSA over P-384 with SHA-256. A signature covers method, path, time, a random number and the body, so that a
recorded request can neither be repeated nor sent with another body.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import read_private, write_private

DEVICE, TIME, NONCE, SIGNATURE = (f"x-fedaffect-{name}" for name in ("device", "time", "nonce", "signature"))
_HASH: Final = ec.ECDSA(hashes.SHA256())


class DeviceKey:
    """A private key.

    Parameters
    ----------
    key : EllipticCurvePrivateKey
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def make(cls, path: Path) -> DeviceKey:
        """A new key in a private file, in OpenSSH's form, which Flower's SuperNode reads."""
        key = ec.generate_private_key(ec.SECP384R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        write_private(path, pem)
        return cls(key)

    @classmethod
    def read(cls, path: Path) -> DeviceKey:
        """The key in a file.

        Raises
        ------
        ConfigError
            If it is none.
        """
        key = serialization.load_ssh_private_key(read_private(path), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(f"{path} is not an elliptic-curve key; enroll the device again")
        return cls(key)

    @property
    def public(self) -> str:
        """The public key in OpenSSH's form."""
        return openssh(self._key.public_key())

    def is_half_of(self, public: ec.EllipticCurvePublicKey) -> bool:
        """Whether this is the private half of a public key."""
        return self._key.public_key() == public

    def sign(self, said: bytes) -> bytes:
        """A signature of something that begins like nothing else that this key signs; DER."""
        return self._key.sign(said, _HASH)

    def prove(self, device_id: str) -> str:
        """A signature with this key that names the device it is for."""
        return b64encode(self._key.sign(_claimed(device_id, self.public), _HASH)).decode()

    def headers(
        self, device_id: str, method: str, path: str, body: bytes, moment: float | None = None
    ) -> dict[str, str]:
        """Headers that name the device, and its signature."""
        said = f"{time.time() if moment is None else moment:.3f}"
        nonce = secrets.token_hex(16)
        signature = self._key.sign(_signed(method, path, said, nonce, body), _HASH)
        return {DEVICE: device_id, TIME: said, NONCE: nonce, SIGNATURE: b64encode(signature).decode()}


def openssh(public: ec.EllipticCurvePublicKey) -> str:
    """A public key in OpenSSH's form."""
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def verified(public_key: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a request is signed with a key.

    Parameters
    ----------
    public_key : str
        In OpenSSH's form.
    method, path : str
    headers : mapping of str to str
        With those of :meth:`DeviceKey.headers`.
    body : bytes
    """
    try:
        return _holds(public_key, headers[SIGNATURE], _signed(method, path, headers[TIME], headers[NONCE], body))
    except KeyError:
        return False


def proves(public_key: str, device_id: str, proof: str) -> bool:
    """Whether a proof is signed with this key and names this device; see :meth:`DeviceKey.prove`."""
    return _holds(public_key, proof, _claimed(device_id, public_key))


def _holds(public_key: str, signature: str, said: bytes) -> bool:
    try:
        key = serialization.load_ssh_public_key(public_key.encode())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(b64decode(signature, validate=True), said, _HASH)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _claimed(device_id: str, public_key: str) -> bytes:
    return "\n".join(("fedaffect-key-1", device_id, public_key.strip())).encode()


def _signed(method: str, path: str, moment: str, nonce: str, body: bytes) -> bytes:
    return "\n".join(("fedaffect-1", method, path, moment, nonce, hashlib.sha256(body).hexdigest())).encode()
