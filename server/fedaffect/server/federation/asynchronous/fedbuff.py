"""FedBuff as the step of a ServerApp's loop: fill a buffer with K updates, however old, and make the next version.

Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation" (2022). A version takes the place of a
round: it is committed, evaluated and resumed as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from flwr.app import Message
from flwr.serverapp import Grid
from torch import Tensor

from fedaffect.client.layout import TRUNK, ArrayLayout
from fedaffect.client.wire import ARRAYS, METRICS, from_record, weights_of
from fedaffect.edge.errors import TrainingError
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.asynchronous.buffer import Arrival, empty_buffer
from fedaffect.server.federation.asynchronous.live import LiveFlights
from fedaffect.server.federation.asynchronous.pace import Pace
from fedaffect.server.federation.asynchronous.schedule import Flight, Schedule
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.strategies.registry import StrategyEntry, require_suited
from fedaffect.server.federation.transport import Nodes, replies

# Key of this loop's memory among a checkpoint's.
STATE = "asynchronous"
# How often a buffer is topped up for updates that could not be used.
_TRIES = 10


class Loop(Protocol):
    """What this step needs of the loop around it."""

    def messages(self, version: int, weights: Tensor, clients: Sequence[int]) -> list[Message]:
        """Train requests to these clients, from these parameters."""

    def received(self, number: int, start: Tensor) -> RoundReplies:
        """Takes and checks replies to them."""

    def weights_of(self, version: int) -> Tensor:
        """Parameters of a committed version, (P,); those of version 0 are the initial ones."""


@dataclass(slots=True)
class Filled:
    """A full buffer; told of as a round is.

    Parameters
    ----------
    weights : Tensor of float32, shape (P,)
        The next version.
    arrivals : list of Arrival
        What it is made of.
    failures, refusals : list of tuple of int and str
        Clients whose update never came, and those that did not want to learn now.
    rejected : dict of str to str
    size_up : int
        Bytes of one update.
    """

    weights: Tensor
    arrivals: list[Arrival] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    size_up: int = 0

    @property
    def clients(self) -> int:
        """Updates in the buffer."""
        return len(self.arrivals)

    @property
    def train_loss(self) -> float:
        """Mean training loss, weighted by examples; NaN where there were none."""
        examples = sum(arrival.counts[TRUNK] for arrival in self.arrivals)
        weighted = math.fsum(arrival.loss * arrival.counts[TRUNK] for arrival in self.arrivals)
        return weighted / examples if examples else math.nan

    def bytes_up(self, current: Tensor) -> int:
        """Size of one client's update on the wire."""
        return self.size_up

    def staleness(self, version: int) -> float:
        """Mean age of the updates, in versions."""
        return sum(version - arrival.version for arrival in self.arrivals) / max(1, len(self.arrivals))


class Buffered:
    """Fills buffers, one a version.

    With a trace of devices time is simulated: who arrives when is known beforehand, so that only what a buffer takes
    is trained, from the version it began with, and a resumed run repeats an uninterrupted one bit for bit. Without
    one, messages go out and replies count as they really come; a resumed run then starts its clients anew.

    Parameters
    ----------
    config : RunSettings
    entry : StrategyEntry
    grid : Grid
    nodes : Nodes
    layout : ArrayLayout
    clients : int
        K, of the federation.
    pace : Pace, optional
    loop : Loop

    Raises
    ------
    ConfigError
        If the strategy does more than average.
    """

    def __init__(
        self,
        config: RunSettings,
        entry: StrategyEntry,
        grid: Grid,
        nodes: Nodes,
        layout: ArrayLayout,
        clients: int,
        pace: Pace | None,
        loop: Loop,
    ) -> None:
        require_suited(config, entry)
        self._grid, self._nodes, self._layout, self._loop = grid, nodes, layout, loop
        wanted = config.clients_a_round(clients) if config.time.concurrency is None else config.time.concurrency
        concurrency = min(wanted, clients)
        self._timeout_s = config.time.round_timeout_s
        self._size = min(config.time.buffer_size, clients)
        self._schedule: Schedule | None = None
        self._live: LiveFlights | None = None
        if pace is not None:
            timeout_s = config.time.deadline_s or config.time.round_timeout_s
            self._schedule = Schedule(pace, concurrency, timeout_s, config.federation.seed)
        else:
            self._live = LiveFlights(
                grid, nodes, concurrency, config.time.round_timeout_s, config.federation.seed, clients
            )

    def fill(self, version: int, current: Tensor) -> Filled:
        """Wait for a full buffer, and empty it into the next version.

        Parameters
        ----------
        version : int
            The newest one.
        current : Tensor of float32, shape (P,)
            Its parameters.

        Raises
        ------
        TrainingError
            If hardly any update can be used.
        """
        filled = Filled(current)
        tries = 0
        while len(filled.arrivals) < self._size and tries < _TRIES:
            need = self._size - len(filled.arrivals)
            tries += 1
            if self._schedule is not None:
                self._simulated(self._schedule, version, current, need, filled)
            elif self._live is not None:
                self._really(self._live, version, current, need, filled)
        if not filled.arrivals:
            why = f": {filled.failures[0][1]}" if filled.failures else ""
            raise TrainingError(f"no update could be used for version {version + 1}{why}")
        filled.weights = empty_buffer(self._layout, current, filled.arrivals, version)
        return filled

    def _simulated(self, schedule: Schedule, version: int, current: Tensor, need: int, filled: Filled) -> None:
        landed: list[Flight] = []
        while len(landed) < need:
            schedule.fill(version)
            if not schedule.flights:
                # Everybody has trained from this version: the buffer stays smaller.
                break
            flight = schedule.land()
            if flight.arrives:
                landed.append(flight)
            else:
                filled.failures.append((flight.client, "dropped out"))
        for start in sorted({flight.version for flight in landed}):
            starts = {flight.client: flight.start for flight in landed if flight.version == start}
            weights = current if start == version else self._loop.weights_of(start)
            received = self._loop.received(version + 1, weights)
            messages = self._loop.messages(start, weights, sorted(starts))
            for reply in replies(self._grid, messages, self._timeout_s):
                client = self._nodes.sender(reply)
                received.take(reply, client)
            self._collect(received, start, weights, starts, filled)

    def _really(self, live: LiveFlights, version: int, current: Tensor, need: int, filled: Filled) -> None:
        live.fill(version, current, self._loop.messages)
        for landed in live.land(need):
            received = self._loop.received(version + 1, landed.weights)
            if landed.reply is None:
                received.failures.append((landed.client, "did not answer in time"))
            else:
                received.take(landed.reply, landed.client)
            self._collect(received, landed.version, landed.weights, {landed.client: landed.start}, filled)

    def _collect(
        self, received: RoundReplies, version: int, weights: Tensor, starts: Mapping[int, int], filled: Filled
    ) -> None:
        filled.failures += received.failures
        filled.refusals += received.refusals
        filled.rejected |= received.rejected
        filled.size_up = filled.size_up or received.bytes_up(weights)
        for client, reply in received.individuals.items():
            metrics: Mapping[str, Any] = reply.content.metric_records[METRICS]
            change = from_record(self._layout, reply.content.array_records[ARRAYS]) - weights
            loss = float(metrics.get("train_loss", 0.0))
            counts = weights_of(metrics)
            filled.arrivals.append(Arrival(starts[client], client, version, change, counts, loss))

    @property
    def versions(self) -> set[int]:
        """Versions that somebody still trains from: their checkpoints must stay."""
        return self._schedule.versions if self._schedule is not None else set()

    def simulated(self, filled: Filled, version: int) -> dict[str, float] | None:
        """What a version's line says about time: when its buffer was full, and how old its updates were on average."""
        if self._schedule is None:
            return None
        return {"ends_s": self._schedule.now_s, "staleness": filled.staleness(version)}

    def state(self) -> dict[str, dict[str, Any]]:
        """What a checkpoint must keep, as JSON."""
        return {} if self._schedule is None else {STATE: self._schedule.to_dict()}

    def restore(self, shape: Mapping[str, Mapping[str, Any]]) -> None:
        """Go back to a checkpoint."""
        if self._schedule is not None and STATE in shape:
            self._schedule.restore(shape[STATE])
