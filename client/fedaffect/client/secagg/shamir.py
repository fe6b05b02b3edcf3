"""Shamir's secret sharing of 32-byte secrets (Communications of the ACM 22, 1979).

Over the integers modulo a prime rather than the GF(2^128) of PyCryptodome, which Flower's helper uses: its
multiplication loops over 128 bits in Python, and sharing two keys with a hundred neighbours took it most of a
second for each client, against about two milliseconds here.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from fedaffect.client.secagg.errors import SecAggError

SECRET_BYTES = 32
# The smallest prime above 2^256, so that every secret of 32 bytes is an element of the field.
PRIME = 2**256 + 297
SHARE_BYTES = 33


def split(secret: bytes, threshold: int, holders: Iterable[int]) -> dict[int, bytes]:
    """One share for each holder; any ``threshold`` of them give the secret, fewer nothing at all.

    Parameters
    ----------
    secret : bytes
        32 bytes.
    threshold : int
        t, 1 or more.
    holders : iterable of int
        Distinct ids of 0 or more; holder h gets the polynomial's value at h + 1.

    Returns
    -------
    dict of int to bytes
        33 bytes each.
    """
    if len(secret) != SECRET_BYTES:
        raise SecAggError(f"a secret of {len(secret)} bytes cannot be shared; it has {SECRET_BYTES}")
    coefficients = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    constant = int.from_bytes(secret, "big")
    shares: dict[int, bytes] = {}
    for holder in holders:
        x, value = holder + 1, 0
        for coefficient in coefficients:
            value = (value + coefficient) * x % PRIME
        shares[holder] = ((value + constant) % PRIME).to_bytes(SHARE_BYTES, "big")
    return shares


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret, from at least as many shares as the threshold: Lagrange's interpolation at zero.

    Parameters
    ----------
    shares : mapping of int to bytes
        By holder.

    Raises
    ------
    SecAggError
        If they are not shares of one 32-byte secret, as far as that shows.
    """
    xs = [holder + 1 for holder in shares]
    secret = 0
    for x, share in zip(xs, shares.values(), strict=True):
        numerator = denominator = 1
        for other in xs:
            if other != x:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - x) % PRIME
        secret += int.from_bytes(share, "big") * numerator * pow(denominator, -1, PRIME)
    secret %= PRIME
    if secret >= 2**256:
        raise SecAggError("shares do not belong together; the attempt cannot be unmasked")
    return secret.to_bytes(SECRET_BYTES, "big")
