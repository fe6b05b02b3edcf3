"""Secure aggregation in place of a round's plain replies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.encoding import Encoding
from fedaffect.client.wire import CONTROL
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.secagg.coordinator import Coordinator
from fedaffect.server.federation.secagg.errors import RoundAbandonedError
from fedaffect.server.federation.secagg.journal import Journal
from fedaffect.server.federation.secagg.sum_ledger import SumBooks
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.strategies.registry import StrategyEntry
from fedaffect.server.federation.transport import Nodes

JOURNAL = "secagg.jsonl"
INT8 = "int8"
# Small words leave few steps to each client: they reach so many root mean squares of a change, and so many mean
# weights; what is beyond is cut off.
_SPREADS, _WEIGHTS = 8.0, 4.0
# An array that stood still in one round may move in the next.
_LEAST = 0.1


@dataclass(frozen=True, slots=True)
class SecureTraining:
    """How a run's rounds are summed.

    Parameters
    ----------
    config : RunSettings
    coordinator : Coordinator
    books : SumBooks
    nodes : Nodes
    layout : ArrayLayout
    """

    config: RunSettings
    coordinator: Coordinator
    books: SumBooks
    nodes: Nodes
    layout: ArrayLayout

    @classmethod
    def of(
        cls,
        config: RunSettings,
        entry: StrategyEntry,
        grid: Grid,
        nodes: Nodes,
        layout: ArrayLayout,
        run_folder: Path,
        sums_of: Callable[[Journal], SumBooks] | None = None,
    ) -> SecureTraining | None:
        """What the run's settings ask for; None where they do not.

        Parameters
        ----------
        config, entry, grid, nodes, layout
            The run's.
        run_folder : Path
            Gets the journal.
        sums_of : callable, optional
            A fleet's books around the journal; the journal alone if not given.

        Raises
        ------
        ConfigError
            If the strategy needs single updates.
        """
        if not config.secagg.secagg:
            return None
        if not entry.foldable:
            raise ConfigError(
                f"{config.federation.strategy} compares single updates, and --secagg hides them; "
                f"use a strategy of averages, such as fedavg or fedadam, or leave --secagg out"
            )
        if config.robustness.norm_bound:
            raise ConfigError(
                "--norm-bound measures single updates, and --secagg hides them; clients bound theirs by --secagg-clip "
                "or --dp central, leave one out"
            )
        journal = Journal(run_folder / JOURNAL)
        books: SumBooks = sums_of(journal) if sums_of else journal
        coordinator = Coordinator(
            grid,
            nodes,
            books,
            config.time.round_timeout_s,
            config.secagg.secagg_neighbours,
            config.secagg.secagg_threshold,
        )
        return cls(config, coordinator, books, nodes, layout)

    def train(
        self, round_number: int, messages: Sequence[Message], current: Tensor, received: RoundReplies, norm: float = 0.0
    ) -> None:
        """Run a round.

        Parameters
        ----------
        round_number : int
        messages : sequence of Message
            As plain aggregation would send them.
        current : Tensor of float32, shape (P,)
            The parameters that they carry.
        received : RoundReplies
            Gets the sum, or is told that there is none.
        norm : float
            What privacy in the centre bounds each change by; 0 for nothing.

        Raises
        ------
        AttemptFailedError
            If too few clients went on, in every attempt.
        """
        clients = [self.nodes.partitions[m.metadata.dst_node_id] for m in messages]
        if len(clients) < 2:
            received.abandon(clients, "a sum over one client hides nothing; raise --clients-per-round")
            return
        try:
            result = self.coordinator.sum_of(
                round_number, messages, self.layout, self._encoding(round_number, messages, norm)
            )
        except RoundAbandonedError as error:
            no = dict(error.refusals)
            received.abandon([client for client in clients if client not in no], str(error))
            received.refusals += error.refusals
            return
        received.take_secure(current, result.decoded, len(result.survivors), result.reply)
        received.count_bytes(result.bytes_up, result.bytes_down)
        received.failures += result.failures
        received.refusals += result.refusals

    def _encoding(self, round_number: int, messages: Sequence[Message], norm: float) -> Encoding:
        clients, small = len(messages), self.config.federation.compression == INT8
        beside = tuple(name for name in (CONTROL,) if name in messages[0].content)
        if norm:
            # A vector of that norm has values around norm / sqrt(P).
            clip = min(norm, _SPREADS * norm / math.sqrt(self.layout.size)) if small else norm
            return Encoding(clients=clients, clip=clip, max_weight=1, bits=16 if small else 32, norm=norm)
        clip, weight = self.config.secagg.secagg_clip, self.config.secagg.secagg_max_weight
        spread = self.books.spread_before(round_number) if small else None
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
