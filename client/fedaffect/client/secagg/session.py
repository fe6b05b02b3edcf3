"""Which attempt of which round a message belongs to; everything secret is bound to it."""

from __future__ import annotations

from dataclasses import dataclass

_PROTOCOL = "fedaffect secagg 1"


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """One attempt at summing one round.

    Parameters
    ----------
    run : str
        Drawn at random when a run begins.
    round : int
    attempt : int
        Counts from 1, within a run or within a round, and never back, whatever was interrupted: each has keys of its
        own.
    """

    run: str
    round: int
    attempt: int

    def context(self, purpose: str, *parties: int) -> bytes:
        """Bytes that differ for every purpose, pair, attempt, round and run; for HKDF's ``info`` and AEAD's data."""
        return "|".join((_PROTOCOL, self.run, f"{self.round}", f"{self.attempt}", purpose, *map(str, parties))).encode()
