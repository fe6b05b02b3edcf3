"""Clients that really train at once, over any grid: messages out, replies taken as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import Message
from torch import Tensor

from fedaffect.server.federation.grid import Nodes, TrainingGrid

_STREAM = 0x11FE
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0


@dataclass(frozen=True, slots=True)
class Landed:
    """A reply, or a client given up.

    Parameters
    ----------
    start : int
        Number of its start within this process.
    client : int
    version : int
    weights : Tensor of float32, shape (P,)
        What it trained from.
    reply : Message, optional
        None where it did not answer in time.
    """

    start: int
    client: int
    version: int
    weights: Tensor
    reply: Message | None


@dataclass(frozen=True, slots=True)
class _Flight:
    start: int
    client: int
    version: int
    weights: Tensor
    until: float


class LiveFlights:
    """Keeps a fixed number of clients training.

    Parameters
    ----------
    grid : TrainingGrid
    nodes : Nodes
    concurrency : int
    timeout_s : float
        After which a client that has not answered is given up.
    seed : int
    clients : int
        K, of the federation.
    """

    def __init__(
        self, grid: TrainingGrid, nodes: Nodes, concurrency: int, timeout_s: float, seed: int, clients: int
    ) -> None:
        self._grid, self._nodes, self._concurrency, self._timeout_s = grid, nodes, concurrency, timeout_s
        self._generator = np.random.default_rng([_STREAM, seed])
        self._clients = clients
        self._flights: dict[str, _Flight] = {}
        self._starts = 0
        self._done: set[tuple[int, int]] = set()

    def fill(
        self, version: int, current: Tensor, messages_of: Callable[[int, Tensor, Sequence[int]], list[Message]]
    ) -> None:
        """Start clients on a version until as many train as may."""
        self._done = {(client, done) for client, done in self._done if done == version}
        away = {flight.client for flight in self._flights.values()} | {client for client, _ in self._done}
        there = [client for client in range(self._clients) if client not in away]
        count = min(self._concurrency - len(self._flights), len(there))
        if count <= 0:
            return
        chosen = sorted(int(k) for k in self._generator.choice(there, size=count, replace=False))
        until = time.monotonic() + self._timeout_s
        messages = messages_of(version + 1, current, chosen)
        for message, message_id in zip(messages, self._grid.push_messages(messages), strict=True):
            self._starts += 1
            client = self._nodes.partitions[message.metadata.dst_node_id]
            self._flights[message_id] = _Flight(self._starts, client, version, current, until)
            self._done.add((client, version))

    def land(self, most: int) -> Iterator[Landed]:
        """Those who come next: at least one where anybody is under way, and at most so many."""
        pause_s, landed = _FIRST_WAIT_S, 0
        while self._flights and not landed:
            for message_id in list(self._flights):
                if landed == most:
                    return
                flight = self._flights[message_id]
                reply = next(iter(self._grid.pull_messages([message_id])), None)
                if reply is None and time.monotonic() < flight.until:
                    continue
                del self._flights[message_id]
                landed += 1
                yield Landed(flight.start, flight.client, flight.version, flight.weights, reply)
            if not landed:
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_WAIT_S)
