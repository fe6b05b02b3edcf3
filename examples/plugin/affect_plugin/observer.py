"""An observer: a line of figures a round, for a spreadsheet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedaffect.server import RoundRecord


class CsvObserver:
    """Writes ``rounds.csv`` into the run folder.

    Parameters
    ----------
    folder : Path
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "rounds.csv"

    def started(self, config: Any, cohort: Any, parameters: int) -> None:
        """A run begins, or goes on: the head line stands once."""
        if not self.path.exists():
            self.path.write_text("round,clients,loss\n", encoding="utf-8")

    def round_finished(self, record: RoundRecord) -> None:
        """One line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{record.round},{record.clients},{record.train_loss}\n")

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Nothing more to say."""
