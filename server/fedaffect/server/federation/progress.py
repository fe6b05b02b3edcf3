"""Where a run stands: changed only when a round is committed, and read back when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import from_record, named_to_record
from fedaffect.server.federation.checkpoint import Checkpoint
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.run_folder import RunFolder


class Progress:
    """The newest parameters and the lines of all committed rounds.

    Parameters
    ----------
    folder : RunFolder
    layout : ArrayLayout
    initial : Tensor of float32, shape (P,)
        Parameters of round 0.
    """

    def __init__(self, folder: RunFolder, layout: ArrayLayout, initial: Tensor) -> None:
        self._folder, self._layout, self._initial = folder, layout, initial
        self.weights = initial
        self.records: list[dict[str, Any]] = []

    @property
    def round(self) -> int:
        """The newest committed round; 0 before the first."""
        return int(self.records[-1]["round"]) if self.records else 0

    @property
    def elapsed_s(self) -> float:
        """Seconds that all committed rounds took."""
        return float(self.records[-1]["elapsed_s"]) if self.records else 0.0

    def weights_of(self, number: int) -> Tensor:
        """Parameters of a committed round, (P,); those of round 0 are the initial ones."""
        if number == self.round:
            return self.weights
        return self._initial if number == 0 else self._read(self._folder.checkpoints.load(number))

    def checkpoint(
        self,
        record: RoundRecord,
        weights: Tensor,
        state: Mapping[str, NDArray[Any]],
        shape: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Write a round's checkpoint: from here it can be committed."""
        line = record.to_dict()
        made = Checkpoint(record.round, self._layout.unflatten(weights), state, shape, line)
        self._folder.checkpoints.commit(made)

    def commit(self, record: RoundRecord, weights: Tensor) -> None:
        """Go on from a round whose checkpoint stands."""
        line = record.to_dict()
        self._folder.append_metrics(line)
        self.weights = weights
        self.records.append(line)

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Go back to a checkpoint, or to the beginning."""
        if checkpoint is None:
            self._folder.truncate_metrics(0)
            return
        self.records = self._folder.truncate_metrics(checkpoint.round)
        if self.round < checkpoint.round:
            # Stopped between the commit and its line.
            self.records.append(dict(checkpoint.record))
            self._folder.append_metrics(checkpoint.record)
        self.weights = self._read(checkpoint)

    def _read(self, checkpoint: Checkpoint) -> Tensor:
        return from_record(self._layout, named_to_record(checkpoint.arrays))
