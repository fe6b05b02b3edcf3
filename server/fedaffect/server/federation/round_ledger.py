"""Who keeps the books of a run that devices of a fleet take part in; simulations need nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from flwr.app import Message
from torch import Tensor

from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.secagg.journal import Journal
from fedaffect.server.federation.secagg.sum_ledger import SumBooks
from fedaffect.server.federation.transport import Nodes


class RoundKeeper(Protocol):
    """Told of every step of a round, in this order; any of them may raise where the run is no longer this server's.

    Attributes
    ----------
    nodes : Nodes
        Who can be reached; changed in place by :meth:`gather`.
    """

    nodes: Nodes

    def gather(self) -> Sequence[int]:
        """Partitions of the devices that may be asked now, ascending."""

    def begin(self, number: int, clients: Sequence[int], base: str) -> Mapping[str, str | int]:
        """An attempt at a round: what its messages say about it, for the replies to repeat."""

    def admit(self, reply: Message, client: int) -> str | None:
        """Why a reply is not counted, or None where it is; an update is admitted once."""

    def sums(self, journal: Journal) -> SumBooks:
        """Books for rounds of which the server sees sums alone, beside the run folder's own."""

    def settle(self, clients: Sequence[int], received: RoundReplies) -> None:
        """All replies are in: whoever is still open has failed, or is part of a sum."""

    def commit(self, record: RoundRecord, arrays_sha256: str) -> None:
        """The round is finished; its checkpoint stands."""

    def abandon(self, number: int, why: str) -> None:
        """The attempt counts for nothing."""


def arrays_sha256(flat: Tensor) -> str:
    """SHA-256 over parameters (P,) as little-endian float32, in hexadecimal."""
    return hashlib.sha256(flat.detach().cpu().numpy().astype("<f4").tobytes()).hexdigest()
