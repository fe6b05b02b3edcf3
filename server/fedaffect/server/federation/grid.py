"""What the federation needs of a grid: who its clients are, messages out, replies back, and what it can do beyond."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from fedaffect.client.wire import CONFIG
from fedaffect.edge.errors import ConfigError

_WAKE_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class GridCapabilities:
    """What a grid can do that Flower's own cannot.

    Parameters
    ----------
    partial_aggregation : bool
        It sums updates before the server sees them where a request asks for that.
    keeps_client_states : bool
        What clients kept is still there when a stopped run goes on.
    starts_workers_on_demand : bool
        Its clients' workers start with the first messages, so that waking them first keeps the clock of training right.
    packs_arrays : bool
        A record's arrays travel as one: over sockets each array takes requests of its own.
    takes_memory : bool
        It reads a request's arrays where they are, in this process; over sockets they become bytes, once for all.
    """

    partial_aggregation: bool = False
    keeps_client_states: bool = False
    starts_workers_on_demand: bool = False
    packs_arrays: bool = False
    takes_memory: bool = False


class TrainingGrid(Protocol):
    """How a federation reaches its clients: `FlowerGrid` around Flower's own, or a simulation's."""

    @property
    def capabilities(self) -> GridCapabilities:
        """What it can do beyond passing messages."""

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that are online."""

    def partition_ids(self, clients: int) -> Mapping[int, int]:
        """Partition id by node id; a grid that has to ask waits for so many nodes first."""

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send messages and yield replies as they come, in no particular order.

        Parameters
        ----------
        messages : iterable of Message
        timeout : float, optional
            Seconds after which nobody is waited for any more.
        """

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; their ids, for :meth:`pull_messages`."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have come to these messages, without waiting for others."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """Node ids of a federation by partition id, and back. Flower draws node ids at random for each run.

    Parameters
    ----------
    node_ids : mapping of int to int
        By partition id, 0..K-1.
    partitions : mapping of int to int
        By node id.
    """

    node_ids: Mapping[int, int]
    partitions: Mapping[int, int]

    @classmethod
    def find(cls, grid: TrainingGrid, clients: int) -> Nodes:
        """Learn which node is which client.

        Parameters
        ----------
        grid : TrainingGrid
        clients : int
            K, how many the cohort has.

        Raises
        ------
        ConfigError
            If fewer nodes are online than the cohort has clients.
        """
        partitions = grid.partition_ids(clients)
        node_ids = {partition: node for node, partition in partitions.items() if partition < clients}
        if len(node_ids) < clients:
            raise ConfigError(
                f"{len(node_ids)} nodes are online, but the partition has {clients} clients; start {clients} "
                f"(flwr run . --federation-config 'num-supernodes={clients}'), "
                f"or choose a partition of fewer (--run-config 'partition=\"iid:{max(1, len(node_ids))}\"')"
            )
        return cls(node_ids, partitions)

    def of(self, clients: Iterable[int]) -> list[int]:
        """Node ids of these partitions, in the same order."""
        return [self.node_ids[client] for client in clients]

    def sender(self, reply: Message) -> int:
        """Partition id a reply comes from; -1 if no client's."""
        return self.partitions.get(reply.metadata.src_node_id, -1)


def wake(grid: TrainingGrid, nodes: Nodes, config: ConfigRecord, clients: Iterable[int]) -> None:
    """Have a simulation start its workers and load the model before the clock of training runs."""
    if grid.capabilities.starts_workers_on_demand:
        content = RecordDict({CONFIG: config})
        questions = [Message(content, node, MessageType.QUERY) for node in nodes.of(clients)]
        for _ in grid.stream(questions, timeout=_WAKE_TIMEOUT_S):
            pass
