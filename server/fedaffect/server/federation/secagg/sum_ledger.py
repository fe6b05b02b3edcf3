"""What must be known about a run's secure sums whatever dies, each before the message that follows from it is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from flwr.app import Message

from fedaffect.client.secagg.session import Session
from fedaffect.client.secagg.signed_keys import SignedKeys


@dataclass(frozen=True, slots=True)
class Spread:
    """What a round's sums tell about its updates on average.

    Parameters
    ----------
    change : float
        Root mean square of a parameter's change.
    weight : float
        Mean weight of a client.
    profile : tuple of float
        Root mean square of the mean change, by array of the layout, over that of all parameters together.
    """

    change: float
    weight: float
    profile: tuple[float, ...]


@dataclass(slots=True)
class Tally:
    """What came of one attempt, by client.

    Parameters
    ----------
    failures, refusals : dict of int to str
        Reasons of those who dropped out, and of those who refused.
    liars : dict of int to str
        Those who are proved to lie, with what shows it.
    up, down : dict of int to int
        Bytes on the wire, over all stages; measured on one message of each.
    reply : Message, optional
        One of the replies, for its addresses.
    """

    failures: dict[int, str] = field(default_factory=dict)
    refusals: dict[int, str] = field(default_factory=dict)
    liars: dict[int, str] = field(default_factory=dict)
    up: dict[int, int] = field(default_factory=dict)
    down: dict[int, int] = field(default_factory=dict)
    reply: Message | None = None


class SumLedger(Protocol):
    """Keeps it: a file on one machine, the registry in a fleet."""

    def begin(self, round_number: int) -> Session:
        """A new attempt at a round; no other ever had its number."""

    def about(self) -> Mapping[str, str | int]:
        """What the attempt's messages say about it in their config, beside what the round's say."""

    def check_keys(self, session: Session, client: int, signed: SignedKeys) -> None:
        """Raise SecAggError where a signature shows that keys are not those of the client that sent them."""

    def record_outcome(self, client: int, reply: Message) -> str | None:
        """Accept a masked update once, before it becomes part of the sum; why it is not accepted, or None."""

    def close(self, session: Session, survivors: Iterable[int]) -> None:
        """Unmasking begins, over these clients: from here the round commits with their sum or with none."""

    def is_closed(self, round_number: int) -> bool:
        """Whether unmasking of a round ever began: no further sum over its updates may be taken."""

    def end(self, session: Session, tally: Tally) -> None:
        """An attempt ended."""

    def learn(self, session: Session, spread: Spread) -> None:
        """Keep what a round's sums told, for the encoding of those after it."""

    def spread_before(self, round_number: int) -> Spread | None:
        """Changes as the newest round before this one had them, weights as the first: later ones may be cut off."""
