"""How an API key's secret is kept: salted scrypt, never the secret itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

# The secret has 256 random bits, so nothing can be gained by guessing; the cost need only be felt, not hurt.
_COST: Final = 2**12
_BLOCK: Final = 8
_PARALLEL: Final = 1


def new_secret() -> str:
    """256 random bits in hexadecimal."""
    return secrets.token_hex(32)


def hash_secret(secret: str) -> str:
    """``scrypt$N$r$p$salt$hash``, under a salt of its own."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(secret, salt, _COST, _BLOCK, _PARALLEL)
    fields = ("scrypt", str(_COST), str(_BLOCK), str(_PARALLEL), _text(salt), _text(digest))
    return "$".join(fields)


def matches(secret: str, stored: str) -> bool:
    """Whether a secret is the one that was hashed; takes as long whether it is or not."""
    _, cost, block, parallel, salt, digest = stored.split("$")
    found = _scrypt(secret, base64.b64decode(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(found, base64.b64decode(digest))


def _scrypt(secret: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=cost, r=block, p=parallel, dklen=32, maxmem=64 << 20)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
