"""Draws a run's report as soon as the run is over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.report.page import write_report
from fedaffect.simulation.report.partition import PARTITION, PartitionCounts


class ReportObserver:
    """Keeps who holds what when a run starts, and writes ``report.html`` when it ends.

    Parameters
    ----------
    folder : Path
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Count the partition while the cohort is there."""
        PartitionCounts.of(cohort).save(self._folder / PARTITION)

    def round_finished(self, record: RoundRecord) -> None:
        """Nothing: the page is about the whole run."""

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Draw the page."""
        write_report(self._folder)
