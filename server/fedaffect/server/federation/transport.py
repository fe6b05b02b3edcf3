"""Talking to clients through any Flower grid: who is who, and replies taken as they come."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedaffect.client.wire import CONFIG, METRICS
from fedaffect.edge.errors import ConfigError

# Replies asked for at once, so that a grid which hands over whole lists never holds many in memory.
_PULL_AT_ONCE = 16
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0
_NODES_TIMEOUT_S = 60.0


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
    def find(cls, grid: Grid, clients: int) -> Nodes:
        """Learn who is who: from the grid if it knows, else by asking every node.

        Parameters
        ----------
        grid : Grid
        clients : int
            K, how many the cohort has.

        Raises
        ------
        ConfigError
            If fewer nodes are online than the cohort has clients.
        """
        known = getattr(grid, "partition_ids", None)
        partitions: Mapping[int, int] = known() if callable(known) else _ask(grid, clients)
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


def replies(grid: Grid, messages: Iterable[Message], timeout_s: float) -> Iterator[Message]:
    """Send messages and yield replies as they come, in no particular order.

    Parameters
    ----------
    grid : Grid
        One that offers ``stream(messages, timeout=…)`` is asked to; any other is polled.
    messages : iterable of Message
    timeout_s : float
        Who has not replied by then is not waited for.
    """
    stream = getattr(grid, "stream", None)
    if callable(stream):
        yield from stream(messages, timeout=timeout_s)
        return
    waiting = list(grid.push_messages(messages))
    began = time.monotonic()
    deadline = began + timeout_s
    while waiting and time.monotonic() < deadline:
        answered: set[str] = set()
        asked = time.monotonic()
        for some in _batched(waiting, _PULL_AT_ONCE):
            for reply in grid.pull_messages(some):
                answered.add(reply.metadata.reply_to_message_id)
                yield reply
        waiting = [message_id for message_id in waiting if message_id not in answered]
        if waiting:
            # A tenth of the time that it took so far is what an answer may wait at most.
            now = time.monotonic()
            wait_s = min(max(_FIRST_WAIT_S, (now - began) / 10), _LONGEST_WAIT_S)
            # A fleet's SuperLink has waited for answers itself before it said that there are none.
            time.sleep(max(0.0, wait_s - (now - asked)))


def wake(grid: Grid, nodes: Nodes, config: ConfigRecord, clients: Iterable[int]) -> None:
    """Have a simulation start its workers and load the model before the clock of training runs.

    Real nodes, which tell who they are only when asked, are left alone.
    """
    if callable(getattr(grid, "partition_ids", None)):
        content = RecordDict({CONFIG: config})
        questions = [Message(content, node, MessageType.QUERY) for node in nodes.of(clients)]
        for _ in replies(grid, questions, _NODES_TIMEOUT_S):
            pass


def _ask(grid: Grid, clients: int) -> dict[int, int]:
    deadline = time.monotonic() + _NODES_TIMEOUT_S
    while len(nodes := list(grid.get_node_ids())) < clients and time.monotonic() < deadline:
        time.sleep(_LONGEST_WAIT_S)
    questions = [Message(RecordDict(), node, MessageType.QUERY) for node in nodes]
    partitions: dict[int, int] = {}
    for reply in replies(grid, questions, _NODES_TIMEOUT_S):
        if reply.has_content():
            metrics: Mapping[str, Any] = reply.content.metric_records.get(METRICS, {})
            partitions[reply.metadata.src_node_id] = int(cast(int, metrics.get("partition-id", -1)))
    return partitions


def _batched(items: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch
