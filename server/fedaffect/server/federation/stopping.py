"""The best round on the development split, and early stopping: a run ends once none is better any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]


def best_record(records: Sequence[Record], select_by: str) -> Record:
    """The first of the rounds with the highest development figure; without a development split, the last round."""
    evaluated = [record for record in records if record["dev"]]
    return max(evaluated, key=lambda record: record["dev"][select_by]) if evaluated else records[-1]


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Decides from the rounds that are committed, so that a resumed run stops where an uninterrupted one does.

    Parameters
    ----------
    patience : int
        Rounds after the best one, at most; 0 for all rounds.
    select_by : str
        Figure on the development split by which rounds are compared.
    """

    patience: int
    select_by: str

    def reason(self, records: Sequence[Record]) -> str:
        """Why a run with these rounds is over; empty where it goes on.

        Parameters
        ----------
        records : sequence of mapping
            Lines of ``metrics.jsonl``, in order.
        """
        last = next((record for record in reversed(records) if record["dev"]), None)
        if not self.patience or last is None:
            return ""
        best = best_record(records, self.select_by)
        waited = int(last["round"]) - int(best["round"])
        if waited < self.patience:
            return ""
        return f"no better {self.select_by} on the development split in {waited} rounds after round {best['round']}"

    def summary(self, records: Sequence[Record]) -> dict[str, str]:
        """What a summary says, under ``stopped_early``; nothing of a run that had all its rounds."""
        reason = self.reason(records)
        return {"stopped_early": reason} if reason else {}
