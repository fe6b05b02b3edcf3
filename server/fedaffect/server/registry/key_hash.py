"""How the secret of an API key or an enrolment token is kept: a salted hash, never the secret itself."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def new_secret() -> str:
    """256 random bits in hexadecimal."""
    return secrets.token_hex(32)


def hash_secret(secret: str) -> str:
    """``sha256$salt$hash``, under a salt of its own.

    The secret has 256 random bits, so that a slow hash would not make guessing harder. It would make a wrong secret
    dear to refuse, and the limit on wrong secrets that follows would lock out the key's owner.
    """
    salt = secrets.token_hex(16)
    return f"sha256${salt}${_digest(secret, salt)}"


def matches(secret: str, stored: str) -> bool:
    """Whether a secret is the one that was hashed; takes as long whether it is or not."""
    _, salt, digest = stored.split("$")
    return hmac.compare_digest(_digest(secret, salt), digest)


def _digest(secret: str, salt: str) -> str:
    return hmac.digest(bytes.fromhex(salt), secret.encode(), hashlib.sha256).hex()
