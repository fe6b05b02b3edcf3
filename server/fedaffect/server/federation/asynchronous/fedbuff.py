"""FedBuff as the step of the loop: fill a buffer with K updates, however old, and make the next version.

Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation" (2022). A version takes the place of a
round: it is committed, evaluated and resumed as one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.layout import TRUNK
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.asynchronous.buffer import BufferedUpdate, empty_buffer
from fedaffect.server.federation.asynchronous.live import LiveFlights
from fedaffect.server.federation.asynchronous.pace import Pace
from fedaffect.server.federation.asynchronous.schedule import Flight, Schedule
from fedaffect.server.federation.exchange import Exchange
from fedaffect.server.federation.failures import RoundFailedError
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.progress import Progress
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.steps import RoundResult

# Key of this step's memory among a checkpoint's.
STATE = "asynchronous"
# How often a buffer is topped up for updates that could not be used.
_TRIES = 10


class BufferedStep:
    """Fills buffers, one a version.

    With a trace of devices time is simulated: who comes back when is known beforehand, so that only what a buffer takes
    is trained, from the version it began with, and a resumed run repeats an uninterrupted one bit for bit. Without
    one, messages go out and replies count as they really come; a resumed run then starts its clients again.

    Parameters
    ----------
    config : RunSettings
    grid : TrainingGrid
    nodes : Nodes
    exchange : Exchange
    clients : int
        K, of the federation.
    pace : Pace, optional
    """

    def __init__(
        self, config: RunSettings, grid: TrainingGrid, nodes: Nodes, exchange: Exchange, clients: int, pace: Pace | None
    ) -> None:
        self._grid, self._nodes, self._exchange, self._layout = grid, nodes, exchange, exchange.shared.layout
        wanted = config.clients_a_round(clients) if config.time.concurrency is None else config.time.concurrency
        concurrency = min(wanted, clients)
        self._timeout_s = config.time.round_timeout_s
        self._size = min(config.time.buffer_size, clients)
        self._bytes_up = 0
        self._schedule: Schedule | None = None
        self._live: LiveFlights | None = None
        if pace is not None:
            timeout_s = config.time.deadline_s or config.time.round_timeout_s
            self._schedule = Schedule(pace, concurrency, timeout_s, config.federation.seed)
        else:
            self._live = LiveFlights(
                grid, nodes, concurrency, config.time.round_timeout_s, config.federation.seed, clients
            )

    def run(self, number: int, progress: Progress) -> RoundResult:
        """Wait for a full buffer, and empty it into the next version.

        Raises
        ------
        RoundFailedError
            If hardly any update can be used.
        """
        version, result = number - 1, RoundResult(progress.weights)
        updates: list[BufferedUpdate] = []
        tries = 0
        while len(updates) < self._size and tries < _TRIES:
            need = self._size - len(updates)
            tries += 1
            if self._schedule is not None:
                self._simulated(self._schedule, progress, need, updates, result)
            elif self._live is not None:
                self._really(self._live, progress, need, updates, result)
        if not updates:
            why = f": {result.failures[0][1]}" if result.failures else ""
            raise RoundFailedError(f"no update could be used for version {number}{why}")
        result.weights = empty_buffer(self._layout, progress.weights, updates, version)
        result.clients = len(updates)
        examples = sum(update.counts[TRUNK] for update in updates)
        weighted = math.fsum(update.loss * update.counts[TRUNK] for update in updates)
        result.train_loss = weighted / examples if examples else math.nan
        result.asked_in_vain = len(result.failures) + len(result.refusals)
        result.bytes_up, result.bytes_down = self._bytes_up, self._exchange.bytes_down
        if self._schedule is not None:
            # When the buffer was full, and how old its updates were on average, in versions.
            staleness = sum(version - update.version for update in updates) / len(updates)
            result.simulated = {"ends_s": self._schedule.now_s, "staleness": staleness}
        return result

    def _simulated(
        self, schedule: Schedule, progress: Progress, need: int, updates: list[BufferedUpdate], result: RoundResult
    ) -> None:
        version = progress.round
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
                result.failures.append((flight.client, "dropped out"))
                result.excused.add(flight.client)
        for start in sorted({flight.version for flight in landed}):
            starts = {flight.client: flight.start for flight in landed if flight.version == start}
            weights = progress.weights_of(start)
            received = self._exchange.open(version + 1, weights)
            messages = self._exchange.messages(start + 1, weights, sorted(starts))
            for reply in self._grid.stream(messages, timeout=self._timeout_s):
                received.take(reply, self._nodes.sender(reply))
            self._keep(received, start, weights, starts, updates, result)

    def _really(
        self, live: LiveFlights, progress: Progress, need: int, updates: list[BufferedUpdate], result: RoundResult
    ) -> None:
        version = progress.round
        live.fill(version, progress.weights, self._exchange.messages)
        for landed in live.land(need):
            received = self._exchange.open(version + 1, landed.weights)
            if landed.reply is None:
                received.failures.append((landed.client, "did not answer in time"))
            else:
                received.take(landed.reply, landed.client)
            self._keep(received, landed.version, landed.weights, {landed.client: landed.start}, updates, result)

    def _keep(
        self,
        received: RoundReplies,
        version: int,
        weights: Tensor,
        starts: Mapping[int, int],
        updates: list[BufferedUpdate],
        result: RoundResult,
    ) -> None:
        result.failures += received.failures
        result.refusals += received.refusals
        result.rejected |= received.rejected
        result.excused |= received.excused
        self._bytes_up = self._bytes_up or received.bytes_up(weights)
        for client, update in received.individuals.items():
            change = cast(Tensor, update.arrays) - weights
            updates.append(BufferedUpdate(starts[client], client, version, change, update.counts, update.train_loss))

    @property
    def rounds_in_use(self) -> set[int]:
        """Versions that somebody still trains from: their checkpoints must stay."""
        return self._schedule.versions if self._schedule is not None else set()

    def save(self) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Mapping[str, Any]]]:
        """Who trains from what, where time is simulated."""
        return {}, {} if self._schedule is None else {STATE: self._schedule.to_dict()}

    def restore(self, arrays: Mapping[str, NDArray[Any]], shape: Mapping[str, Mapping[str, Any]]) -> None:
        """Go back to a checkpoint."""
        if self._schedule is not None and STATE in shape:
            self._schedule.restore(shape[STATE])
