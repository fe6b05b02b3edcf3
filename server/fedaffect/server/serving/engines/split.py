"""Which version answers a request: by share, and the same one for the same id."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping


def choose_version(request_id: str, shares: Mapping[str, float]) -> str | None:
    """Pick a version in proportion to its share.

    Weighted rendezvous hashing: each version draws a uniform u from (id, version), and the largest
    ``share / -ln u`` wins. That is exact for any shares, needs no order among versions, and when shares change,
    only as many ids move as must.

    Parameters
    ----------
    request_id : str
        Equal ids get equal versions while the shares stay.
    shares : mapping of str to float
        Not negative; need not add up to 1.

    Returns
    -------
    str or None
        None where no share is above 0.
    """
    best, best_score = None, 0.0
    for version, share in shares.items():
        if share <= 0:
            continue
        score = share / -math.log(_uniform(request_id, version))
        if score > best_score:
            best, best_score = version, score
    return best


def _uniform(request_id: str, version: str) -> float:
    # Lengths first, so that no two pairs run into the same text.
    text = f"{len(version)}:{version}{request_id}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    # (0, 1) without its ends, whose logarithms are not wanted.
    return ((number >> 11) + 0.5) / 2**53
