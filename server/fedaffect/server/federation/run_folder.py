"""The folder of a run: its settings, a line of metrics a round, checkpoints, predictions, the summary."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import RunError, at
from fedaffect.edge.system.files import append_whole
from fedaffect.server.federation.checkpoint import Checkpoints, cannot_write, write_atomically
from fedaffect.server.federation.settings import RunSettings, from_toml, has_sections, to_toml

CONFIG, METRICS, SUMMARY, PREDICTIONS = "config.toml", "metrics.jsonl", "summary.json", "predictions.npz"
# Written by fedaffect.simulation, where that is installed.
PAGE = "report.html"


class RunFolder:
    """One run's folder.

    Parameters
    ----------
    path : Path
        Made by :meth:`create`, or found by :meth:`open`.
    config : RunSettings
        The settings that stand in it.
    """

    def __init__(self, path: Path, config: RunSettings) -> None:
        self.path = path
        self.config = config
        self.checkpoints = Checkpoints(path / "checkpoints")

    @classmethod
    def create(cls, config: RunSettings, *, overwrite: bool = False) -> RunFolder:
        """A new folder ``<out>/<run name>`` with its ``config.toml``.

        Parameters
        ----------
        config : RunSettings
        overwrite : bool
            Whether an older run of that name may be deleted.

        Raises
        ------
        RunError
            If the folder is taken, or cannot be written.
        """
        path = config.output.out / config.run_name
        if overwrite and (path / CONFIG).is_file():
            shutil.rmtree(path)
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            raise RunError(
                f"{path} exists already; go on with it (--resume {path}), replace it (--overwrite), "
                f"or choose another --name"
            ) from error
        except OSError as error:
            raise cannot_write(path, error) from error
        folder = cls(path, config)
        try:
            write_atomically(path / CONFIG, to_toml(config).encode())
        except RunError:
            folder.discard_unstarted()
            raise
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run's folder.

        Raises
        ------
        RunError
            If there is no run in it, or one of another version.
        """
        path = Path(path)
        if not (path / CONFIG).is_file():
            raise RunError(
                f"{path} is not a run folder: it has no {CONFIG}; 'fedaffect runs list' shows those there are"
            )
        if not has_sections(path / CONFIG):
            raise RunError(f"{path} was made by another version of fedaffect; run it again with --overwrite")
        return cls(path, from_toml(path / CONFIG))

    @property
    def client_states(self) -> Path:
        """Where simulated clients keep what they need in later rounds."""
        return self.path / "client_states"

    def discard_unstarted(self) -> None:
        """Delete the folder if no round of it was ever committed: nothing half-written stays."""
        if not self.checkpoints.rounds():
            shutil.rmtree(self.path, ignore_errors=True)

    def require_same(self, config: RunSettings) -> None:
        """Check that a run may go on with these settings.

        Raises
        ------
        RunError
            Listing the settings that differ.
        """
        if differing := self.config.differences(config):
            raise RunError(
                f"{self.path} was run with other settings ({'; '.join(differing)}); "
                f"resume with the same ones, or start a new run under another --name"
            )

    def continue_with(self, config: RunSettings) -> None:
        """Take over settings that may change on the way, such as more rounds."""
        self.require_same(config)
        self.config = config.changed(out=self.config.output.out, name=self.config.output.name)
        write_atomically(self.path / CONFIG, to_toml(self.config).encode())

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of ``metrics.jsonl`` in order; a last line cut short by a crash is left out.

        Raises
        ------
        RunError
            If another line is not a round's.
        """
        path = self.path / METRICS
        try:
            lines = path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        records = []
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n"):
                try:
                    records.append(json.loads(line))
                except ValueError as error:
                    raise RunError(f"{at(path, number)} is damaged ({error}); run it again with --overwrite") from error
        return records

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Add a round's line, whole or not at all.

        Raises
        ------
        RunError
            If the disk is full.
        """
        path = self.path / METRICS
        line = (json.dumps(record) + "\n").encode()
        try:
            append_whole(path, line)
        except OSError as error:
            raise cannot_write(path, error) from error

    def truncate_metrics(self, last_round: int) -> list[dict[str, Any]]:
        """Drop lines of rounds that were never committed.

        Returns
        -------
        list of dict
            The lines that stay.
        """
        kept = [record for record in self.metrics() if record["round"] <= last_round]
        write_atomically(self.path / METRICS, "".join(json.dumps(record) + "\n" for record in kept).encode())
        return kept

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``."""
        write_atomically(self.path / SUMMARY, (json.dumps(summary, indent=2) + "\n").encode())

    def summary(self) -> dict[str, Any]:
        """The summary of a finished run.

        Raises
        ------
        RunError
            If the run has none yet, or it is damaged or of another version.
        """
        try:
            summary: Any = json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))
            if not isinstance(summary, dict):
                raise ValueError("it holds no table")
        except FileNotFoundError as error:
            raise RunError(f"{self.path} is not finished; go on with --resume {self.path}") from error
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.path / SUMMARY} is damaged ({error}); --resume {self.path} writes it again"
            ) from error
        if (test := summary.get("test")) and (lacking := [name for name in FIGURES if name not in test]):
            raise RunError(
                f"{self.path} was made by another version of fedaffect, which did not take {lacking[0]}; run it again "
                f"with --overwrite"
            )
        return summary

    def write_predictions(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write per-sample answers, as ``fedaffect.server.federation.summary.answers`` names them."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
        write_atomically(self.path / PREDICTIONS, buffer.getvalue())

    def predictions(self) -> dict[str, NDArray[Any]]:
        """Per-sample answers of a finished run.

        Raises
        ------
        RunError
            If there are none.
        """
        try:
            with np.load(self.path / PREDICTIONS, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path} has no readable {PREDICTIONS} ({error}); --resume {self.path}") from error
