"""Keys that two clients agree on while the server passes their public halves along.

X25519 (RFC 7748) and HKDF with SHA-256 (RFC 5869). Every derived key has its own ``info``, so that what is
agreed in one attempt, for one purpose, between one pair, says nothing about any other.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedaffect.client.secagg.errors import SecAggError

KEY_BYTES = 32
TAG_BYTES = 16
# Each key encrypts one message only.
_NONCE = bytes(12)


def new_private_key() -> bytes:
    """A fresh X25519 private key, 32 bytes from the operating system's generator."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key(private: bytes) -> bytes:
    """The public half of a private key."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, public: bytes, info: bytes) -> bytes:
    """A 32-byte key that both holders of a private key derive from the other's public one.

    Raises
    ------
    SecAggError
        If the public key is not one, or a point of small order, for which everybody would agree on zero.
    """
    try:
        shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise SecAggError("a neighbour's public key is none; start the round's next attempt without it") from error
    return derive(shared, info)


def derive(secret: bytes, info: bytes) -> bytes:
    """A 32-byte key for one purpose from a secret of 32 random bytes."""
    return HKDF(SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def seal(key: bytes, plaintext: bytes, about: bytes) -> bytes:
    """Encrypt and authenticate; ``key`` must never encrypt anything else."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, plaintext, about)


def unseal(key: bytes, ciphertext: bytes, about: bytes) -> bytes | None:
    """Decrypt what :func:`seal` made; None if it was changed, or made for another pair, attempt or direction."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, ciphertext, about)
    except InvalidTag:
        return None
