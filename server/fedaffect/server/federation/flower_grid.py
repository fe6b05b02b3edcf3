"""Flower's own grid as the federation wants one: it is asked who its nodes are, and polled for replies."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping

from flwr.app import Error, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from fedaffect.edge.errors import RunError
from fedaffect.server.federation.grid import GridCapabilities
from fedaffect.server.federation.robustness.reply_validation import UpdateRejectedError, read_partition_id
from fedaffect.server.flower_compat.pushing import push_messages
from fedaffect.server.flower_compat.replies import pull_replies

logger = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 1.0
_NODES_TIMEOUT_S = 60.0


class FlowerGrid:
    """A `TrainingGrid` around any grid of Flower's.

    Parameters
    ----------
    grid : Grid
    capabilities : GridCapabilities
        None of Flower's own; a fleet's devices keep their states.
    nodes_timeout_s : float, optional
        How long nodes are waited for that are not there yet, and then for what they say of themselves; a minute each
        if not given.
    """

    def __init__(
        self,
        grid: Grid,
        capabilities: GridCapabilities = GridCapabilities(),  # noqa: B008 - frozen
        nodes_timeout_s: float | None = None,
    ) -> None:
        self._grid = grid
        self._nodes_timeout_s = _NODES_TIMEOUT_S if nodes_timeout_s is None else nodes_timeout_s
        self._sent: dict[str, Message] = {}
        self.capabilities = capabilities

    def get_node_ids(self) -> Iterable[int]:
        """Nodes that are online."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; their ids, for :meth:`pull_messages`."""
        messages = list(messages)
        ids = push_messages(self._grid, messages)
        if len(ids) != len(messages):
            raise RunError("the SuperLink did not take a round's messages; raise largest-update-mb in fleet.toml")
        self._sent |= {message_id: _address(sent) for message_id, sent in zip(ids, messages, strict=True)}
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have come to these messages, each as if from whom its message was sent to."""
        return [reply for _, reply in self._pull(message_ids)]

    def _pull(self, message_ids: Iterable[str]) -> Iterator[tuple[str, Message]]:
        answered = set()
        for message_id, found in pull_replies(self._grid, message_ids):
            if message_id in self._sent:
                answered.add(message_id)
                yield message_id, _reply(found, self._sent[message_id])
        for message_id in answered:
            del self._sent[message_id]

    def partition_ids(self, clients: int) -> Mapping[int, int]:
        """Partition id by node id, as every node says when asked; waits for so many nodes."""
        deadline = time.monotonic() + self._nodes_timeout_s
        while len(nodes := list(self.get_node_ids())) < clients and time.monotonic() < deadline:
            time.sleep(_LONGEST_WAIT_S)
        questions = [Message(RecordDict(), node, MessageType.QUERY) for node in nodes]
        partitions: dict[int, int] = {}
        for reply in self.stream(questions, timeout=self._nodes_timeout_s):
            try:
                partitions[reply.metadata.src_node_id] = read_partition_id(reply)
            except UpdateRejectedError as error:
                logger.warning("node %d takes no part: %s", reply.metadata.src_node_id, error)
        return partitions

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """As `TrainingGrid.stream`."""
        waiting = list(self.push_messages(messages))
        began = time.monotonic()
        deadline = began + (math.inf if timeout is None else timeout)
        while waiting and time.monotonic() < deadline:
            answered: set[str] = set()
            asked = time.monotonic()
            for message_id, reply in self._pull(waiting):
                answered.add(message_id)
                yield reply
            waiting = [message_id for message_id in waiting if message_id not in answered]
            if waiting:
                # A tenth of the time that it took so far is what an answer may wait at most.
                now = time.monotonic()
                wait_s = min(max(_FIRST_WAIT_S, (now - began) / 10), _LONGEST_WAIT_S)
                # A fleet's SuperLink has waited for answers itself before it said that there are none.
                time.sleep(max(0.0, wait_s - (now - asked)))


def _address(sent: Message) -> Message:
    """Of a message, without what it holds."""
    return Message(RecordDict(), sent.metadata.dst_node_id, sent.metadata.message_type)


def _reply(found: RecordDict | Error, sent: Message) -> Message:
    return Message(found, reply_to=sent)
