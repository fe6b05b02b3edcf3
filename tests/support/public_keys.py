"""Public keys that a test names; the same name gives the same key."""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def public_key(name: str) -> str:
    """In OpenSSH's form."""
    private = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
    return private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
