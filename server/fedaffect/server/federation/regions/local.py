"""Regional aggregators in the root's own process, each over its clients: a simulation's regions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence

from flwr.app import Error, Message

from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.server.federation.regions.aggregator import RegionalAggregator

logger = logging.getLogger(__name__)


class LocalRegions:
    """Carries orders to aggregators: node n + 1 is region n.

    Parameters
    ----------
    aggregators : sequence of RegionalAggregator
        One a region.
    """

    def __init__(self, aggregators: Sequence[RegionalAggregator]) -> None:
        self._aggregators = aggregators

    def node_of(self, region: int) -> int:
        """The node that a region's order is sent to."""
        return region + 1

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Carry orders out, one region after the other; what ends a region is its own error and nobody else's.

        Parameters
        ----------
        messages : iterable of Message
        timeout : float, optional
            Regions keep to that of their orders.
        """
        for message in messages:
            aggregator = self._aggregators[message.metadata.dst_node_id - 1]
            try:
                yield Message(aggregator.answer(message.content), reply_to=message)
            except ConfigError:
                # Root and region share settings and Ray: what a run cannot work with ends it.
                raise
            except (FedAffectError, OSError) as error:
                yield Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error)), reply_to=message)
