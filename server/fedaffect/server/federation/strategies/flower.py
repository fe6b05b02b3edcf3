"""How Flower's own strategies are built from a run's settings, and what Flower needs to keep quiet and exact."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedaffect.edge.errors import ConfigError

# Everybody whom the grid shows takes part: who that is was decided before (fedaffect.server.federation.selection).
EVERYBODY: dict[str, Any] = {
    "fraction_train": 1.0,
    "fraction_evaluate": 1.0,
    "min_train_nodes": 1,
    "min_evaluate_nodes": 1,
    "min_available_nodes": 1,
}


class ChosenNodes(Grid):
    """A grid on which only a round's chosen nodes are online; strategies address messages with it and send none.

    Flower's strategies draw their nodes with an unseeded generator; among exactly as many as they want there is nothing
    left to draw.

    Parameters
    ----------
    node_ids : sequence of int
        The chosen nodes.
    """

    def __init__(self, node_ids: Sequence[int]) -> None:
        self._node_ids = tuple(node_ids)

    def get_node_ids(self) -> Iterable[int]:
        """The chosen nodes."""
        return self._node_ids

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Make a message with Flower's own constructor."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def _not_here(self, *arguments: Any, **named: Any) -> NoReturn:
        raise ConfigError("a strategy makes a round's messages and does not send any; return them from configure_train")

    run = property(_not_here)
    set_run = push_messages = pull_messages = send_and_receive = _not_here


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
