"""The root's side: one order to each region, one sum from each, and what flat aggregation would make of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from flwr.app import Message, MessageType, RecordDict
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.encoding import Encoding
from fedaffect.edge.errors import TrainingError
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.grid import Nodes
from fedaffect.server.federation.privacy.mechanism import PrivacyMechanism
from fedaffect.server.federation.regions.order import REGION, Order, RegionMap
from fedaffect.server.federation.regions.region_sum import RegionSum
from fedaffect.server.federation.robustness.reply_validation import UpdateRejectedError, read_error

logger = logging.getLogger(__name__)

# What passing one sum up may take beyond the time that a region gives its clients.
_PASSING_UP_S = 60.0


class RegionGrid(Protocol):
    """How the root reaches regional aggregators."""

    def node_of(self, region: int) -> int:
        """The node that a region's order is sent to."""

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Send orders and yield answers as they come, in no particular order."""


class RegionPool(RegionMap, RegionGrid, Protocol):
    """The regions of a fleet: which a device belongs to, and how that one is reached."""


@dataclass(frozen=True, slots=True)
class RegionalCollection:
    """Collects a round's updates as one sum a region; a `Collection`.

    A region that is lost, or whose answer is none, is named in the reason of each of its clients: they have failed, as
    they would have had they been lost one by one.

    Parameters
    ----------
    grid : RegionGrid
    nodes : Nodes
        Of clients.
    regions : RegionMap
    layout : ArrayLayout
        Of the parameters that are shared.
    template : Order
        What all orders have in common.
    privacy : PrivacyMechanism
        Says what norm a round's clients clip to.
    """

    grid: RegionGrid
    nodes: Nodes
    regions: RegionMap
    layout: ArrayLayout
    template: Order
    privacy: PrivacyMechanism

    def collect(self, number: int, messages: Sequence[Message], current: Tensor, received: RoundReplies) -> None:
        """Send an order to every region that has clients in the round, and add up what they pass up."""
        for region, order, part, reply in self._answers(number, messages, self.template.timeout_s, None):
            try:
                received.merge(part, reply)
            except TrainingError as error:
                received.merge(self._lost(region, order, str(error)), None)

    def parts(
        self, number: int, messages: Sequence[Message], timeout_s: float, encoding: Encoding | None = None
    ) -> Iterator[tuple[RegionSum, Message | None]]:
        """Every region's part of a round, and the reply that brought it.

        Parameters
        ----------
        number : int
        messages : sequence of Message
        timeout_s : float
            How long a region may take with its clients.
        encoding : Encoding, optional
            Of secure sums.
        """
        for _, _, part, reply in self._answers(number, messages, timeout_s, encoding):
            yield part, reply

    def _answers(
        self, number: int, messages: Sequence[Message], timeout_s: float, encoding: Encoding | None
    ) -> Iterator[tuple[int, Order, RegionSum, Message | None]]:
        """As :meth:`parts`, with the region and what it was asked."""
        orders = self._orders(number, messages, encoding)
        content = dict(messages[0].content)
        waiting = {self.grid.node_of(region): region for region in orders}
        sent = [
            Message(RecordDict({**content, REGION: orders[region].to_record()}), node, MessageType.TRAIN)
            for node, region in waiting.items()
        ]
        timeout_s += _PASSING_UP_S
        for reply in self.grid.stream(sent, timeout=timeout_s):
            region = waiting.pop(reply.metadata.src_node_id, None)
            if region is not None:
                yield region, orders[region], self._read(region, orders[region], reply), reply
        for region in waiting.values():
            yield region, orders[region], self._lost(region, orders[region], f"no sum within {timeout_s:g} s"), None

    def _orders(self, number: int, messages: Sequence[Message], encoding: Encoding | None) -> Mapping[int, Order]:
        clients: dict[int, list[int]] = defaultdict(list)
        for message in messages:
            client = self.nodes.partitions[message.metadata.dst_node_id]
            clients[self.regions.of(client)].append(client)
        common = replace(
            self.template,
            round=number,
            asked=len(messages),
            clip_norm=self.privacy.update_norm(),
            encoding=encoding,
        )
        return {region: replace(common, clients=tuple(sorted(clients[region]))) for region in sorted(clients)}

    def _read(self, region: int, order: Order, reply: Message) -> RegionSum:
        if reply.has_error():
            return self._lost(region, order, read_error(reply)[1])
        try:
            return RegionSum.read(reply, self.layout, order)
        except UpdateRejectedError as error:
            return self._lost(region, order, str(error))

    def _lost(self, region: int, order: Order, why: str) -> RegionSum:
        name = self.regions.name(region)
        logger.warning("round %d: region %s of %d is lost: %s", order.round, name, self.regions.count, why)
        return RegionSum.without(order.clients, f"region {name}: {why}", excused=False)
