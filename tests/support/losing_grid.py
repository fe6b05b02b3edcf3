"""A grid on which a share of the replies to each stage of a secure aggregation is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from flwr.app import Message

from fedaffect.client.wire import SECAGG
from fedaffect.simulation.grid import RayGrid


class LosingGrid(RayGrid):
    """Clients do the work, and their replies never arrive: what costs everybody else most.

    Parameters
    ----------
    *arguments, **settings
        As of :class:`fedaffect.simulation.grid.RayGrid`.
    share : float
        Of those who are asked in a stage, the part whose reply is lost.
    """

    def __init__(self, *arguments: Any, share: float, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._share = share
        self._random = np.random.default_rng(0)

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Replies as they come, but for the lost ones."""
        messages = list(messages)
        asked = [m.metadata.dst_node_id for m in messages if SECAGG in m.content.config_records]
        lost = set(self._random.choice(asked, size=int(self._share * len(asked)), replace=False)) if asked else set()
        for reply in super().stream(messages, timeout=timeout):
            if reply.metadata.src_node_id not in lost:
                yield reply
