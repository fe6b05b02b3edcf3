"""Where a run's rounds are recorded beside its folder: a fleet's in its registry, a simulation's nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from flwr.app import Message
from torch import Tensor

from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.secagg.journal import Journal
from fedaffect.server.federation.secagg.sum_ledger import SumLedger

if TYPE_CHECKING:
    from fedaffect.server.federation.aggregation import RoundReplies


class RoundLedger(Protocol):
    """Records every step of a round, in this order; any of them may raise where the run is no longer this server's."""

    def begin(self, number: int, clients: Sequence[int], weights: Tensor) -> Mapping[str, str | int]:
        """Record an attempt at a round; returns what its messages say about it, for the replies to repeat."""

    def record_outcome(self, client: int, reply: Message, rejected: str | None) -> str | None:
        """Record how a client answered, before its update counts.

        Parameters
        ----------
        client : int
            Partition id.
        reply : Message
        rejected : str, optional
            Why the update was rejected when it was read.

        Returns
        -------
        str, optional
            Why the update is not counted; None where it is. An update is accepted once.
        """

    def sums(self, journal: Journal) -> SumLedger:
        """The ledger of rounds of which the server sees sums alone, around the run folder's own."""

    def end(self, clients: Sequence[int], received: RoundReplies) -> None:
        """All replies are in: a client without an outcome has failed, or is part of a sum."""

    def commit(self, record: RoundRecord, weights: Tensor) -> None:
        """The round is finished; its checkpoint stands."""

    def abandon(self, number: int, why: str) -> None:
        """The attempt counts for nothing."""


class NoLedger:
    """The run folder says all."""

    def begin(self, number: int, clients: Sequence[int], weights: Tensor) -> Mapping[str, str | int]:
        """Nothing to repeat."""
        return {}

    def record_outcome(self, client: int, reply: Message, rejected: str | None) -> str | None:
        """Everything valid counts."""
        return rejected

    def sums(self, journal: Journal) -> SumLedger:
        """The run folder's own."""
        return journal

    def end(self, clients: Sequence[int], received: RoundReplies) -> None:
        """Nothing is open."""

    def commit(self, record: RoundRecord, weights: Tensor) -> None:
        """Nothing to record."""

    def abandon(self, number: int, why: str) -> None:
        """Nothing to give up."""


def arrays_sha256(flat: Tensor) -> str:
    """SHA-256 over parameters (P,) as little-endian float32, in hexadecimal."""
    return hashlib.sha256(flat.detach().cpu().numpy().astype("<f4").tobytes()).hexdigest()
