"""Splits for corpora whose authors give none and in which people cannot be held out."""

from __future__ import annotations

import hashlib

_PARTS = 5


def part_of(name: str, parts: int) -> int:
    """In which of so many about equal parts a name falls, by its hash: the same on every machine."""
    digest = hashlib.blake2b(name.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % parts


def drawn_split(name: str) -> str:
    """``test`` for a fifth of all names, ``dev`` for another, ``train`` for the others."""
    return {0: "test", 1: "dev"}.get(part_of(name, _PARTS), "train")
