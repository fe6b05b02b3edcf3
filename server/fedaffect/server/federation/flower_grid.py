"""Flower's own grid as the federation wants one: it is asked who its nodes are, and polled for replies."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedaffect.server.federation.grid import GridCapabilities
from fedaffect.server.federation.robustness.reply_validation import UpdateRejectedError, read_partition_id

logger = logging.getLogger(__name__)

# Replies asked for at once, so that a grid which hands over whole lists never holds many in memory.
_PULL_AT_ONCE = 16
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0
_NODES_TIMEOUT_S = 60.0


class FlowerGrid:
    """A `TrainingGrid` around any grid of Flower's.

    Parameters
    ----------
    grid : Grid
    capabilities : GridCapabilities
        None of Flower's own; a fleet's devices keep their states.
    """

    def __init__(self, grid: Grid, capabilities: GridCapabilities = GridCapabilities()) -> None:  # noqa: B008 - frozen
        self._grid = grid
        self.capabilities = capabilities

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that are online."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; their ids, for :meth:`pull_messages`."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have come to these messages."""
        return self._grid.pull_messages(message_ids)

    def partition_ids(self, clients: int) -> Mapping[int, int]:
        """Partition id by node id, as every node says when asked; waits a minute for so many nodes."""
        deadline = time.monotonic() + _NODES_TIMEOUT_S
        while len(nodes := list(self.get_node_ids())) < clients and time.monotonic() < deadline:
            time.sleep(_LONGEST_WAIT_S)
        questions = [Message(RecordDict(), node, MessageType.QUERY) for node in nodes]
        partitions: dict[int, int] = {}
        for reply in self.stream(questions, timeout=_NODES_TIMEOUT_S):
            try:
                partitions[reply.metadata.src_node_id] = read_partition_id(reply)
            except UpdateRejectedError as error:
                logger.warning("node %d takes no part: %s", reply.metadata.src_node_id, error)
        return partitions

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send messages and yield replies as they come, in no particular order.

        Parameters
        ----------
        messages : iterable of Message
        timeout : float, optional
            Seconds after which nobody is waited for any more.
        """
        waiting = list(self.push_messages(messages))
        began = time.monotonic()
        deadline = began + (math.inf if timeout is None else timeout)
        while waiting and time.monotonic() < deadline:
            answered: set[str] = set()
            asked = time.monotonic()
            for some in _batched(waiting, _PULL_AT_ONCE):
                for reply in self.pull_messages(some):
                    answered.add(reply.metadata.reply_to_message_id)
                    yield reply
            waiting = [message_id for message_id in waiting if message_id not in answered]
            if waiting:
                # A tenth of the time that it took so far is what an answer may wait at most.
                now = time.monotonic()
                wait_s = min(max(_FIRST_WAIT_S, (now - began) / 10), _LONGEST_WAIT_S)
                # A fleet's SuperLink has waited for answers itself before it said that there are none.
                time.sleep(max(0.0, wait_s - (now - asked)))


def _batched(items: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch
