"""Secure aggregation in place of a round's plain replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Message
from flwr.serverapp import Grid
from torch import Tensor

from client.layout import ArrayLayout
from client.secagg.encoding import Encoding
from client.wire import CONTROL
from edge_runtime.errors import ConfigError
from server.aggregation import RoundReplies
from server.run_config import RunConfig
from server.secagg.coordinator import Coordinator
from server.secagg.errors import RoundAbandonedError
from server.secagg.journal import Journal
from server.strategies.registry import StrategyEntry
from server.transport import Nodes

JOURNAL = "secagg.jsonl"


@dataclass(frozen=True, slots=True)
class SecureTraining:
    """How a run's rounds are summed.

    Parameters
    ----------
    config : RunConfig
    coordinator : Coordinator
    nodes : Nodes
    layout : ArrayLayout
    """

    config: RunConfig
    coordinator: Coordinator
    nodes: Nodes
    layout: ArrayLayout

    @classmethod
    def of(
        cls, config: RunConfig, entry: StrategyEntry, grid: Grid, nodes: Nodes, layout: ArrayLayout, run_folder: Path
    ) -> SecureTraining | None:
        """What the run's settings ask for; None where they do not.

        Raises
        ------
        ConfigError
            If the strategy needs single updates.
        """
        if not config.secagg:
            return None
        if not entry.foldable:
            raise ConfigError(
                f"{config.strategy} compares single updates, and --secagg hides them; "
                f"use a strategy of averages, such as fedavg or fedadam, or leave --secagg out"
            )
        if config.norm_bound:
            raise ConfigError(
                "--norm-bound measures single updates, and --secagg hides them; clients bound theirs by --secagg-clip "
                "or --dp central, leave one out"
            )
        journal = Journal(run_folder / JOURNAL)
        coordinator = Coordinator(
            grid, nodes, journal, config.round_timeout_s, config.secagg_neighbours, config.secagg_threshold
        )
        return cls(config, coordinator, nodes, layout)

    def train(self, round_number: int, messages: Sequence[Message], current: Tensor, received: RoundReplies) -> int:
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

        Returns
        -------
        int
            Bytes that one client was sent; 0 where the round was abandoned.

        Raises
        ------
        AttemptFailedError
            If too few clients went on, in every attempt.
        """
        encoding = Encoding(
            clients=len(messages),
            clip=self.config.secagg_clip,
            max_weight=self.config.secagg_max_weight,
            beside=tuple(name for name in (CONTROL,) if name in messages[0].content),
        )
        try:
            result = self.coordinator.sum_of(round_number, messages, self.layout, encoding)
        except RoundAbandonedError as error:
            received.abandon([self.nodes.partitions[m.metadata.dst_node_id] for m in messages], str(error))
            return 0
        received.take_secure(current, result.decoded, len(result.survivors), result.reply, result.bytes_up)
        received.failures += result.failures
        received.refusals += result.refusals
        return result.bytes_down
