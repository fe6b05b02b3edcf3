"""Secure aggregation in place of a round's plain replies."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flwr.app import Message
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.encoding import Encoding
from fedaffect.client.wire import CONTROL
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.privacy.mechanism import PrivacyMechanism
from fedaffect.server.federation.secagg.coordinator import Coordinator
from fedaffect.server.federation.secagg.errors import RoundAbandonedError
from fedaffect.server.federation.secagg.sum_ledger import SumLedger
from fedaffect.server.federation.settings import RunSettings

JOURNAL = "secagg.jsonl"
INT8 = "int8"
# Small words leave few steps to each client: they reach so many root mean squares of a change, and so many mean
# weights; what is beyond is cut off.
_SPREADS, _WEIGHTS = 8.0, 4.0
# An array that stood still in one round may move in the next.
_LEAST = 0.1


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
        self._config, self._nodes, self._layout, self._ledger, self._privacy = config, nodes, layout, ledger, privacy
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
        try:
            result = self._coordinator.sum_of(number, messages, self._layout, self._encoding(number, messages))
        except RoundAbandonedError as error:
            refused = dict(error.refusals)
            received.abandon([client for client in clients if client not in refused], str(error))
            received.refusals += error.refusals
            return
        received.take_secure(current, result.decoded, len(result.survivors), result.reply)
        received.count_bytes(result.bytes_up, result.bytes_down)
        received.failures += result.failures
        received.refusals += result.refusals

    def _encoding(self, number: int, messages: Sequence[Message]) -> Encoding:
        clients, small = len(messages), self._config.federation.compression == INT8
        beside = tuple(name for name in (CONTROL,) if name in messages[0].content)
        if norm := self._privacy.update_norm():
            # A vector of that norm has values around norm / sqrt(P).
            clip = min(norm, _SPREADS * norm / math.sqrt(self._layout.size)) if small else norm
            return Encoding(clients=clients, clip=clip, max_weight=1, bits=16 if small else 32, norm=norm)
        clip, weight = self._config.secagg.secagg_clip, self._config.secagg.secagg_max_weight
        spread = self._ledger.spread_before(number) if small else None
        if spread is None or not spread.change:
            # Wide words in the first round too, which tells how large changes are.
            return Encoding(clients=clients, clip=clip, max_weight=weight, beside=beside)
        return Encoding(
            clients=clients,
            clip=min(clip, _SPREADS * spread.change),
            max_weight=min(weight, math.ceil(_WEIGHTS * spread.weight)),
            bits=16,
            beside=beside,
            profile=tuple(max(_LEAST, part) for part in spread.profile),
        )
