"""How a password is kept: scrypt (RFC 7914), with its own salt and its costs beside it, so that costs may grow."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import cache
from typing import Final

from fedaffect.edge.errors import ConfigError

LEAST, MOST = 12, 200
# 32 MiB and some 0.2 s of a processor for each guess: OWASP's least for scrypt with this N (2026).
_N, _R, _P = 2**15, 8, 3
_MEMORY: Final = 2**27


def check_password(password: str, name: str = "") -> None:
    """Refuse a password that is easily guessed.

    Raises
    ------
    ConfigError
        If it is shorter than 12 or longer than 200 characters, has few different ones, or is the account's name.
    """
    if not LEAST <= len(password) <= MOST:
        raise ConfigError(f"a password has {LEAST} to {MOST} characters, not {len(password)}; several words are good")
    if len(set(password)) < 5 or (name and password.lower().strip("0123456789!.") == name.lower()):
        raise ConfigError("this password is easily guessed; take several words that do not belong together")


def hash_password(password: str) -> str:
    """``scrypt$N$r$p$salt$hash``."""
    salt = secrets.token_hex(16)
    return f"scrypt${_N}${_R}${_P}${salt}${_digest(password, salt, _N, _R, _P)}"


def password_matches(password: str, stored: str) -> bool:
    """Whether a password is the one that was hashed; takes as long whether it is or not."""
    _, n, r, p, salt, digest = stored.split("$")
    # What nobody can have set is hashed all the same, though not at any length.
    return hmac.compare_digest(_digest(password[: MOST + 1], salt, int(n), int(r), int(p)), digest)


def is_outdated(stored: str) -> bool:
    """Whether it was hashed at other costs than passwords are now."""
    return stored.split("$")[:4] != ["scrypt", str(_N), str(_R), str(_P)]


@cache
def nobodys_hash() -> str:
    """Of no password: what is looked at for an account that does not exist, so that a refusal takes as long."""
    return hash_password(secrets.token_hex(32))


def _digest(password: str, salt: str, n: int, r: int, p: int) -> str:
    given = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(given, salt=bytes.fromhex(salt), n=n, r=r, p=p, maxmem=_MEMORY, dklen=32).hex()
