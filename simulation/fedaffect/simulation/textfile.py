"""A run's figures for Prometheus while it goes on, by the textfile collector of its node exporter.

A run has no port of its own to be asked at: it may be over in seconds, or be one of hundreds. So it writes a file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from fedaffect.client.cohort import Cohort
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.settings import RunSettings

VARIABLE: Final = "FEDAFFECT_TEXTFILE_DIR"
# Of the figures on the development split; a run has more, which its own page shows.
_FIGURES: Final = ("uar", "accuracy", "macro_f1", "loss")


class TextfileObserver:
    """Keeps ``fedaffect-NAME.prom`` in a folder, as the run stands after each round.

    Parameters
    ----------
    folder : Path
        That the node exporter reads (``--collector.textfile.directory``).

    Raises
    ------
    ConfigError
        If it is no folder that can be written.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ConfigError(f"{folder}, which ${VARIABLE} names, is no folder to write to; make it, or unset that")
        self._folder = folder
        self._name = ""
        self._set: dict[str, Gauge] = {}
        self._registry = CollectorRegistry()

    @classmethod
    def wanted(cls) -> list[TextfileObserver]:
        """One where the environment names a folder, else none."""
        folder = os.environ.get(VARIABLE)
        return [cls(Path(folder))] if folder else []

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Begin the file."""
        # Folds have their run's folder before their names.
        self._name = config.run_name.replace(os.sep, "-")
        self._put("rounds_wanted", "Rounds that the run is to have", config.federation.rounds)
        self._put("parameters", "Parameters that are learned", parameters)
        epsilon = config.privacy.epsilon
        if epsilon is not None:
            self._put("epsilon_budget", "ε that the run may cost", epsilon)
        self._write()

    def round_finished(self, record: RoundRecord) -> None:
        """Write the file anew."""
        self._put("round", "Last round that ended", record.round)
        self._put("round_seconds", "Of the last round, evaluation among them", record.seconds)
        self._put("updates_per_second", "Client updates a second in the last round", record.updates_per_second)
        self._put("clients", "Clients whose update counted in the last round", record.clients)
        self._put("failures", "Clients that failed in the last round", record.failures)
        self._put("update_bytes_up", "Bytes from all clients in the last round", record.bytes_up)
        self._put("update_bytes_down", "Bytes to all clients in the last round", record.bytes_down)
        self._put("eta_seconds", "Until the run's last round, as it goes", record.eta_s)
        if record.train_loss is not None:
            self._put("train_loss", "Mean over the examples of the last round", record.train_loss)
        for name in _FIGURES:
            if record.dev and (value := record.dev.get(name)) is not None:
                self._put(f"dev_{name}", "On the development split, when last evaluated", value)
        spent = (record.privacy or {}).get("epsilon")
        if spent is not None:
            self._put("epsilon_spent", "ε that any client has spent by now", spent)
        self._write()

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Say that it is over; the file stays until somebody deletes it."""
        self._put("finished", "1 once the run is over", 1)
        self._write()

    def _put(self, name: str, text: str, value: float) -> None:
        if name not in self._set:
            self._set[name] = Gauge(f"fedaffect_simulation_{name}", text, ("run",), registry=self._registry)
        self._set[name].labels(self._name).set(value)

    def _write(self) -> None:
        self._put("written_timestamp_seconds", "When this was written", time.time())
        write_to_textfile(str(self._folder / f"fedaffect-{self._name}.prom"), self._registry)
