"""How Flower's own strategies are built from a run's settings, and what Flower needs to keep quiet and exact."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedaffect.client.flower_compat.names import Run

# Everybody whom the grid shows takes part: who that is was decided before (fedaffect.server.federation.selection).
EVERYBODY: dict[str, Any] = {
    "fraction_train": 1.0,
    "fraction_evaluate": 1.0,
    "min_train_nodes": 1,
    "min_evaluate_nodes": 1,
    "min_available_nodes": 1,
}


class ChosenNodes(Grid):
    """A view of a grid on which only a round's chosen nodes are online.

    Flower's strategies draw their nodes with an unseeded generator; among exactly as many as they want there
    is nothing left to draw.

    Parameters
    ----------
    grid : Grid
        The real one.
    node_ids : sequence of int
        The chosen nodes.
    """

    def __init__(self, grid: Grid, node_ids: Sequence[int]) -> None:
        self._grid = grid
        self._node_ids = tuple(node_ids)

    def get_node_ids(self) -> Iterable[int]:
        """The chosen nodes."""
        return self._node_ids

    @property
    def run(self) -> Run:
        """The real grid's run."""
        return self._grid.run

    def set_run(self, run: Run) -> None:
        """Passed on."""
        self._grid.set_run(run)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Make a message with Flower's own constructor."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Passed on."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Passed on."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Passed on."""
        return self._grid.send_and_receive(messages, timeout=timeout)


@contextmanager
def quiet_flower() -> Iterator[None]:
    """Keep Flower's own lines, several a round, out of the live table; errors still show."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def cheap_collections() -> Iterator[None]:
    """Spare what lives already from garbage collection for a while.

    Some of Flower's strategies collect garbage for every single reply; walking all of torch's objects each time
    takes longer than the aggregation.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
