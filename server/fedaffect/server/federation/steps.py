"""How a round's updates come and become the next parameters: one after the other, or as a secure sum.

Buffered aggregation, which has no rounds, is :mod:`fedaffect.server.federation.asynchronous.fedbuff`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flwr.app import Message
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.shared_part import SharedPart
from fedaffect.server.federation.aggregation import RoundReplies, to_vector
from fedaffect.server.federation.exchange import Exchange
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.participants import Participants
from fedaffect.server.federation.privacy.mechanism import PrivacyMechanism
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.round_ledger import RoundLedger
from fedaffect.server.federation.strategies.flower import quiet_flower
from fedaffect.server.federation.strategies.state import restore_state, save_state


@dataclass(slots=True)
class RoundResult:
    """What a round gave.

    Parameters
    ----------
    weights : Tensor of float32, shape (P,)
        The next parameters.
    clients : int
        Whose updates are in them.
    train_loss : float
        Mean over examples; NaN where there were none.
    failures, refusals : list of (int, str)
        Clients that failed and devices that refused, with their reasons.
    rejected : dict of str to str
        Why updates were rejected, by client name; they are failures too.
    excused : set of int
        Clients whose failure is no fault of what runs them: a trace or a deadline, a lie, a round given up.
    asked_in_vain : int
        Clients that were asked and did not count.
    bytes_up, bytes_down : int
        Of one client, on the wire.
    simulated : mapping of str to float, optional
        The round in simulated time.
    kept_share : float, optional
        Of the way from the run's start, where a guard was asked how much of it to keep.
    """

    weights: Tensor
    clients: int = 0
    train_loss: float = math.nan
    failures: list[tuple[int, str]] = field(default_factory=list)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    excused: set[int] = field(default_factory=set)
    asked_in_vain: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    simulated: Mapping[str, float] | None = None
    kept_share: float | None = None


class RoundStep(Protocol):
    """Makes the next parameters; remembers what later rounds need."""

    def run(self, number: int, progress: Progress) -> RoundResult:
        """One round.

        Raises
        ------
        TrainingError
            If no update of it can be used.
        """

    def save(self) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Mapping[str, Any]]]:
        """Arrays and JSON that a checkpoint keeps of it."""

    def restore(self, arrays: Mapping[str, NDArray[Any]], shape: Mapping[str, Mapping[str, Any]]) -> None:
        """Go back to a checkpoint."""

    @property
    def rounds_in_use(self) -> set[int]:
        """Committed rounds that somebody still trains from."""


@dataclass(slots=True)
class AroundStep:
    """What adds to a round of another step and remembers nothing itself; a `RoundStep` once it has ``run``.

    Parameters
    ----------
    step : RoundStep
        How clients' updates become parameters.
    """

    step: RoundStep

    def save(self) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Mapping[str, Any]]]:
        """Nothing of its own."""
        return self.step.save()

    def restore(self, arrays: Mapping[str, NDArray[Any]], shape: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the step its memory back."""
        self.step.restore(arrays, shape)

    @property
    def rounds_in_use(self) -> set[int]:
        """Those of the step."""
        return self.step.rounds_in_use


class Collection(Protocol):
    """How replies to a round's messages come together."""

    def collect(self, number: int, messages: Sequence[Message], current: Tensor, received: RoundReplies) -> None:
        """Send a round's messages and account for all replies.

        Parameters
        ----------
        number : int
        messages : sequence of Message
        current : Tensor of float32, shape (S,)
            The parameters that the messages carry, of those that are shared.
        received : RoundReplies
        """


@dataclass(frozen=True, slots=True)
class PlainCollection:
    """Replies one at a time, until all are in, enough are in, or time is over.

    Parameters
    ----------
    grid : TrainingGrid
    nodes : Nodes
    timeout_s : float
    enough : int, optional
        Replies that a round needs, where more clients are asked.
    goes_on_without_the_late : bool
        Whether ``timeout_s`` is a deadline that clients may miss, and not the time after which they count as broken.
    """

    grid: TrainingGrid
    nodes: Nodes
    timeout_s: float
    enough: int | None = None
    goes_on_without_the_late: bool = False

    def collect(self, number: int, messages: Sequence[Message], current: Tensor, received: RoundReplies) -> None:
        """Take replies as they come."""
        silent = {self.nodes.partitions[message.metadata.dst_node_id] for message in messages}
        for reply in self.grid.stream(messages, timeout=self.timeout_s):
            client = self.nodes.sender(reply)
            received.take(reply, client)
            silent.discard(client)
            if received.clients == self.enough:
                # The others are late, which is no failure.
                return
        received.failures += [(client, f"no reply within {self.timeout_s:g} s") for client in sorted(silent)]
        if self.goes_on_without_the_late:
            received.excused |= silent


@dataclass(slots=True)
class SynchronousStep:
    """A round that waits for its clients: choose, send, collect, aggregate.

    Parameters
    ----------
    participants : Participants
    exchange : Exchange
    collection : Collection
    privacy : PrivacyMechanism
    ledger : RoundLedger
    strategy : Strategy
    remembered : tuple of str
        Attributes of the strategy that carry memory from round to round.
    shared : SharedPart
    """

    participants: Participants
    exchange: Exchange
    collection: Collection
    privacy: PrivacyMechanism
    ledger: RoundLedger
    strategy: Strategy
    remembered: tuple[str, ...]
    shared: SharedPart
    _bytes_up: int = field(default=0, init=False)

    rounds_in_use: set[int] = field(default_factory=set, init=False)

    def run(self, number: int, progress: Progress) -> RoundResult:
        """One round."""
        whole = progress.weights
        current = self.shared.take(whole)
        chosen = self.participants.choose(number, progress.records)
        about = self.ledger.begin(number, chosen.clients, whole)
        received = self.exchange.open(number, whole)
        late = 0
        if chosen.plan is not None:
            late = len(chosen.plan.late)
            received.failures += [(client, "dropped out") for client in chosen.plan.lost]
            received.excused |= set(chosen.plan.lost)
            if not chosen.clients:
                received.abandon(chosen.plan.late + chosen.plan.lost, "nobody came before the deadline")
        if chosen.clients:
            messages = self.exchange.messages(number, whole, chosen.clients, about)
            received.asked = len(messages)
            self.collection.collect(number, messages, current, received)
            self.ledger.end(chosen.clients, received)
        elif chosen.plan is None:
            # A Poisson sample may be empty. Its round is noise alone, and the strategy learns what it is added to from
            # messages that are not sent.
            self.exchange.messages(number, whole, [next(iter(self.exchange.nodes.node_ids))], about)
        weights = self._aggregate(number, received, current)
        if received.bytes_down:
            # A secure sum's messages differ from round to round.
            self._bytes_up = received.bytes_up(current)
        self._bytes_up = self._bytes_up or received.bytes_up(weights)
        # Where nobody came in time the late count as failures already.
        in_vain = len(received.failures) + len(received.refusals) + (late if received.clients else 0)
        return RoundResult(
            weights=self.shared.put(whole, weights),
            clients=received.clients,
            train_loss=received.train_loss,
            failures=received.failures,
            refusals=received.refusals,
            rejected=received.rejected,
            excused=received.excused,
            asked_in_vain=in_vain,
            bytes_up=self._bytes_up,
            bytes_down=received.bytes_down or self.exchange.bytes_down,
            simulated=None if chosen.plan is None else chosen.plan.to_dict(),
        )

    def _aggregate(self, number: int, received: RoundReplies, current: Tensor) -> Tensor:
        replies = self.privacy.aggregate(number, received, current)
        if not replies:
            return current
        with quiet_flower():
            arrays, _ = self.strategy.aggregate_train(number, replies)
        # Bulyan makes nothing of too few replies; the round then leaves the parameters as they were.
        return current if arrays is None else to_vector(self.shared.layout, arrays)

    def save(self) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Mapping[str, Any]]]:
        """The strategy's memory."""
        return save_state(self.strategy, self.remembered)

    def restore(self, arrays: Mapping[str, NDArray[Any]], shape: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the strategy its memory back."""
        restore_state(self.strategy, arrays, shape)
