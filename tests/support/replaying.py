"""A fleet's run computed again in one process, with exactly those devices in each round that the registry counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message
from tests.support.direct_grid import DirectGrid
from torch import Tensor

from fedaffect.client.device.budget import DeviceBudget
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.flower_messages import answer_message
from fedaffect.client.wire import ATTEMPT, BASE, RUN
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.grid import Nodes
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.round_ledger import arrays_sha256
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.secagg.journal import Journal
from fedaffect.server.federation.secagg.sum_ledger import SumLedger
from fedaffect.server.federation.settings import RunSettings


class Ledger:
    """A round ledger and device pool that asks exactly those devices whose updates the registry counted."""

    def __init__(self, nodes: Nodes, answered: Mapping[int, Sequence[int]], run_id: str) -> None:
        self.nodes = nodes
        self.arrays: dict[int, str] = {}
        self._answered = answered
        self._run_id = run_id
        self._number = 0

    def gather(self, question: ConfigRecord | None = None) -> Sequence[int]:
        """Who answered in the round that comes next."""
        return self._answered[self._number + 1]

    def begin(self, number: int, clients: Sequence[int], weights: Tensor) -> Mapping[str, str | int]:
        """What the fleet's messages said."""
        self._number = number
        return {RUN: self._run_id, ATTEMPT: 1, BASE: arrays_sha256(weights)}

    def record_outcome(self, client: int, reply: Message, rejected: str | None) -> str | None:
        """Everything valid counts."""
        return rejected

    def sums(self, journal: Journal) -> SumLedger:
        """Those of the run folder: a replay has no others."""
        return journal

    def end(self, clients: Sequence[int], received: RoundReplies) -> None:
        """Nothing is open."""

    def commit(self, record: RoundRecord, weights: Tensor) -> None:
        """Keep the hash of what the round gave."""
        self.arrays[record.round] = arrays_sha256(weights)

    def abandon(self, number: int, why: str) -> None:
        """Never happens in a replay."""


class StoredAnswers(DirectGrid):
    """Clients that send again what the privacy ledgers of a fleet's devices have kept.

    An answer that a ledger lacks would be charged and trained, with noise that nobody draws again: the arrays would
    differ, and the ledger would be longer.

    Parameters
    ----------
    devices : mapping of int to Path
        Folders by partition.
    """

    def __init__(self, devices: Mapping[int, Path]) -> None:
        super().__init__(max(devices) + 1)
        self._budgets = {partition: DeviceBudget(DeviceFolder(path)) for partition, path in devices.items()}

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        """What the device answered."""
        return answer_message(message, context, guard=self._budgets[partition])


def replay(
    folder: Path,
    cohort: Path,
    config: RunSettings,
    answered: Mapping[int, Sequence[int]],
    devices: Mapping[int, Path] | None = None,
) -> dict[int, str]:
    """Hashes of the arrays that each round must have given.

    Parameters
    ----------
    folder : Path
        Gets the replayed run's.
    cohort : Path
    config : RunSettings
        Of the fleet's run.
    answered : mapping of int to sequence of int
        Partitions by round.
    devices : mapping of int to Path, optional
        Folders by partition, where answers must be the stored ones because their noise cannot be drawn again.
    """
    clients = max(max(some, default=0) for some in answered.values()) + 1
    grid = DirectGrid(clients) if devices is None else StoredAnswers(devices)
    # As many as planned, also where fewer are replayed: a device's noise follows from it.
    again = config.changed(out=folder, name="replayed", engine="flower")
    ledger = Ledger(Nodes.find(grid, len(grid.nodes)), answered, config.run_name)
    run_federation(grid, again, cohort, RunFolder.create(again), ledger=ledger, devices=ledger)
    return ledger.arrays
