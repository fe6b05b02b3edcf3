"""The ledger of secure sums over real devices: the registry numbers attempts and says whose sum may be opened.

Whatever machine an aggregator runs on, it finds there which round's unmasking began, and makes no second sum of it. The
run folder's own journal is kept beside, for it knows more about the sizes of updates, and outlives a registry that was
restored from a backup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from flwr.app import Message

from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import SignedKeys
from fedaffect.server.federation.secagg.journal import Journal
from fedaffect.server.federation.secagg.sum_ledger import Spread, Tally


class SumRecords(Protocol):
    """What a fleet's round ledger does for secure sums."""

    def attempt(self, round_number: int) -> Session:
        """The open attempt at a round, or the next where that one was used."""

    def about(self) -> Mapping[str, str | int]:
        """What the open attempt's messages say about it."""

    def check_keys(self, session: Session, client: int, signed: SignedKeys) -> None:
        """Raise SecAggError where keys are signed, and not by their device."""

    def record_outcome(self, client: int, reply: Message, rejected: str | None) -> str | None:
        """Why a reply is not counted, or None where it is; an update is accepted once."""

    def unmask(self, clients: Sequence[int]) -> None:
        """Fix whose sum is opened."""

    def unmasking_began(self, round_number: int) -> bool:
        """Whether any aggregator ever fixed that."""

    def record_sum(self, tally: Tally) -> None:
        """Note what each device did that is not noted yet, and everybody's bytes."""


class FleetSums:
    """Implements `fedaffect.server.federation.secagg.sum_ledger.SumLedger` over the registry.

    Parameters
    ----------
    rounds : SumRecords
    journal : Journal
        Of the run folder.
    """

    def __init__(self, rounds: SumRecords, journal: Journal) -> None:
        self._rounds = rounds
        self._journal = journal

    def begin(self, round_number: int) -> Session:
        """A new attempt, with the registry's number."""
        session = self._rounds.attempt(round_number)
        self._journal.begin(round_number)
        return session

    def about(self) -> Mapping[str, str | int]:
        """Run, attempt and the arrays that it starts from, for masked updates to repeat."""
        return self._rounds.about()

    def check_keys(self, session: Session, client: int, signed: SignedKeys) -> None:
        """Raise SecAggError where keys are signed, and not by a key of their device that counts."""
        self._rounds.check_keys(session, client, signed)

    def record_outcome(self, client: int, reply: Message) -> str | None:
        """Accept a masked update once, if it answers this attempt and its device is not revoked."""
        return self._rounds.record_outcome(client, reply, None)

    def close(self, session: Session, survivors: Iterable[int]) -> None:
        """Unmasking begins: in the registry, under the lease, before anywhere else."""
        clients = sorted(survivors)
        self._rounds.unmask(clients)
        self._journal.close(session, clients)

    def is_closed(self, round_number: int) -> bool:
        """Whether unmasking of a round began on this machine or any other."""
        return self._rounds.unmasking_began(round_number) or self._journal.is_closed(round_number)

    def end(self, session: Session, tally: Tally) -> None:
        """Record who failed, who refused, and what everybody sent."""
        self._rounds.record_sum(tally)

    def learn(self, session: Session, spread: Spread) -> None:
        """Keep what the sums told; on this machine, as it decides how words are cut and nothing else."""
        self._journal.learn(session, spread)

    def spread_before(self, round_number: int) -> Spread | None:
        """What the sums of the rounds before told on this machine."""
        return self._journal.spread_before(round_number)
