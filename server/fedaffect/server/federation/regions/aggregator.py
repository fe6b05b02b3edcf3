"""A regional aggregator: it asks its own clients, whatever grid reaches them, and answers for them with one sum.

What a flat federation's server does with replies happens here, by the same code: each is validated, held against the
norm bound, summed in fixed point and forgotten; a secure sum's masks are agreed, and come off, within the region.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from torch import Tensor

from fedaffect.client.compression.compress import NONE, codec
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.encoding import Encoding
from fedaffect.client.shared_part import SharedPart
from fedaffect.client.wire import ARRAYS, COMPRESSION, CONFIG, PARTIAL_AGGREGATION, from_record, pack
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.regions.order import REGION, Order
from fedaffect.server.federation.regions.region_sum import RegionSum
from fedaffect.server.federation.robustness.reply_validation import UpdateValidator
from fedaffect.server.federation.round_ledger import NoLedger, RoundLedger
from fedaffect.server.federation.secagg.coordinator import Coordinator
from fedaffect.server.federation.secagg.errors import AttemptFailedError, RoundAbandonedError
from fedaffect.server.federation.secagg.sum_ledger import SumLedger
from fedaffect.server.federation.steps import PlainCollection

# Of a client that the region knows, and that cannot be asked now.
_GONE = "it is not online with its region"


class RegionalAggregator:
    """Answers a root's orders.

    Parameters
    ----------
    grid : TrainingGrid
        Reaches the region's clients.
    nodes : Nodes
        Theirs.
    members : container of int
        Their partition ids.
    sums : SumLedger, optional
        Of the region's secure sums; without one it takes none.
    ledger : RoundLedger, optional
        Where the region records its part of rounds; a fleet's region, in its registry.
    """

    def __init__(
        self,
        grid: TrainingGrid,
        nodes: Nodes,
        members: Container[int],
        sums: SumLedger | None = None,
        ledger: RoundLedger | None = None,
    ) -> None:
        self._grid, self._nodes, self._members, self._secure_sums = grid, nodes, members, sums
        self._ledger = ledger or NoLedger()
        # Remembers liars from round to round.
        self._coordinator: Coordinator | None = None

    def answer(self, content: RecordDict) -> RecordDict:
        """Carry an order out.

        Parameters
        ----------
        content : RecordDict
            A train request as clients get it, unpacked, with the order beside.

        Returns
        -------
        RecordDict
            A `RegionSum`.

        Raises
        ------
        ConfigError
            If it is for clients of another region.
        TrainingError
            If the grid's own sums overflow.
        """
        order = Order.from_record(content.config_records[REGION])
        if others := [client for client in order.clients if client not in self._members]:
            raise ConfigError(f"client {others[0]} is of another region; give root and region the same --regions")
        arrays = content.array_records[ARRAYS]
        whole = ArrayLayout(tuple(arrays), tuple(tuple(array.shape) for array in arrays.values()))
        shared, weights = SharedPart.of(whole, order.own), from_record(whole, arrays)
        # Devices of a fleet come and go.
        here = tuple(client for client in order.clients if client in self._nodes.node_ids)
        gone = [(client, _GONE) for client in order.clients if client not in self._nodes.node_ids]
        if not here:
            return RegionSum(failures=gone).to_content()
        part = self._part(replace(order, clients=here), content, shared, weights)
        return replace(part, failures=(*part.failures, *gone)).to_content()

    def _part(self, order: Order, content: RecordDict, shared: SharedPart, weights: Tensor) -> RegionSum:
        """The sum over clients that can be reached, each with an outcome in the ledger."""
        if order.encoding is not None and len(order.clients) < (least := max(2, order.threshold)):
            why = f"a region's sum is over {least} clients or more; raise --clients-per-round or lower --regions"
            return RegionSum.without(order.clients, why, excused=True)
        about = self._ledger.begin(order.round, order.clients, weights)
        messages, start = self._messages(order, content, about), shared.take(weights)
        received = self._opened(order, messages, shared.layout, start)
        if order.encoding is not None:
            part = self._secure(order, order.encoding, messages, shared.layout)
            received.clients, received.abandoned = part.clients, part.abandoned
            received.failures, received.refusals = list(part.failures), list(part.refusals)
        else:
            part = self._plain(order, messages, start, received)
        self._ledger.end(order.clients, received)
        return part

    def _messages(self, order: Order, content: RecordDict, about: Mapping[str, str | int]) -> Sequence[Message]:
        """The request for each client; one content for all, by which grids tell requests apart."""
        can, asked = self._grid.capabilities, content.config_records[CONFIG]
        partial = bool(asked.get(PARTIAL_AGGREGATION, False)) and can.partial_aggregation
        request = RecordDict({name: record for name, record in content.items() if name != REGION})
        request[CONFIG] = ConfigRecord({**asked, **about, PARTIAL_AGGREGATION: partial})
        if can.packs_arrays:
            for name, record in request.array_records.items():
                request[name] = pack(record)
        return [Message(request, node, MessageType.TRAIN) for node in self._nodes.of(order.clients)]

    def _opened(self, order: Order, messages: Sequence[Message], layout: ArrayLayout, start: Tensor) -> RoundReplies:
        config = messages[0].content.config_records[CONFIG]
        partial = bool(config[PARTIAL_AGGREGATION])
        bound = order.norm_bound or (0.0 if partial else order.clip_norm)
        chosen = codec(str(config.get(COMPRESSION, NONE)))
        validator = UpdateValidator(layout, start, bound, chosen, partial)
        received = RoundReplies(validator, True, (), order.round, order.uniform, self._ledger)
        received.asked = order.asked
        return received

    def _plain(self, order: Order, messages: Sequence[Message], start: Tensor, received: RoundReplies) -> RegionSum:
        collection = PlainCollection(
            self._grid, self._nodes, order.timeout_s, goes_on_without_the_late=order.excuses_late
        )
        collection.collect(order.round, messages, start, received)
        return received.as_part(start)

    def _secure(self, order: Order, encoding: Encoding, messages: Sequence[Message], layout: ArrayLayout) -> RegionSum:
        """The region's own clients mask for each other, and the region takes their masks off."""
        try:
            result = self._sums(order).sum_of(order.round, messages, layout, encoding)
        except RoundAbandonedError as error:
            return RegionSum.without(order.clients, str(error), error.refusals, excused=True)
        except AttemptFailedError as error:
            return RegionSum.without(order.clients, str(error), excused=False)
        refused = dict(result.refusals)
        return RegionSum(
            clients=len(result.survivors),
            failures=[(client, why) for client, why in result.failures if client not in refused],
            refusals=result.refusals,
            bytes_up=result.bytes_up,
            bytes_down=result.bytes_down,
            words=result.total,
        )

    def _sums(self, order: Order) -> Coordinator:
        if self._secure_sums is None:
            raise ConfigError("this region has no ledger of secure sums; leave --secagg out")
        if self._coordinator is None:
            graph = order.neighbours or None, order.threshold or None
            self._coordinator = Coordinator(self._grid, self._nodes, self._secure_sums, order.timeout_s, *graph)
        return self._coordinator
