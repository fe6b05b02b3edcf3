"""Secure aggregation in place of a round's plain replies."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import Message
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.privacy.mechanism import PrivacyMechanism
from fedaffect.server.federation.secagg.coordinator import Coordinator
from fedaffect.server.federation.secagg.encodings import RoundEncodings
from fedaffect.server.federation.secagg.errors import RoundAbandonedError
from fedaffect.server.federation.secagg.sum_ledger import SumLedger
from fedaffect.server.federation.settings import RunSettings

JOURNAL = "secagg.jsonl"


class SecureCollection:
    """Collects a round's updates as one sum.

    Parameters
    ----------
    config : RunSettings
    grid : TrainingGrid
    nodes : Nodes
    layout : ArrayLayout
    ledger : SumLedger
    privacy : PrivacyMechanism
    """

    def __init__(
        self,
        config: RunSettings,
        grid: TrainingGrid,
        nodes: Nodes,
        layout: ArrayLayout,
        ledger: SumLedger,
        privacy: PrivacyMechanism,
    ) -> None:
        self._nodes, self._layout = nodes, layout
        self._encodings = RoundEncodings(config, layout, ledger, privacy)
        self._coordinator = Coordinator(
            grid,
            nodes,
            ledger,
            config.time.round_timeout_s,
            config.secagg.secagg_neighbours,
            config.secagg.secagg_threshold,
        )

    def collect(self, number: int, messages: Sequence[Message], current: Tensor, received: RoundReplies) -> None:
        """Sum the updates of a round's clients, or abandon the round.

        Raises
        ------
        AttemptFailedError
            If too few clients went on, in every attempt.
        """
        clients = [self._nodes.partitions[m.metadata.dst_node_id] for m in messages]
        if len(clients) < 2:
            received.abandon(clients, "a sum over one client hides nothing; raise --clients-per-round")
            return
        encoding = self._encodings.of(number, messages)
        try:
            result = self._coordinator.sum_of(number, messages, self._layout, encoding)
        except RoundAbandonedError as error:
            refused = dict(error.refusals)
            received.abandon([client for client in clients if client not in refused], str(error))
            received.refusals += error.refusals
            return
        decoded = self._encodings.decode(encoding, result.session, result.total, len(result.survivors))
        received.take_secure(current, decoded, len(result.survivors), result.reply)
        received.count_bytes(result.bytes_up, result.bytes_down)
        received.failures += result.failures
        received.refusals += result.refusals
