"""A run read back from its folder, whole or not: settings, rounds, summary, predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import RunError
from fedaffect.server.federation.run_config import RunConfig
from fedaffect.server.federation.run_folder import CONFIG, PREDICTIONS, SUMMARY, RunFolder

SWEEP = "sweep.json"


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the chosen model said of each test sample.

    Parameters
    ----------
    rows : int array, shape (N,)
        Which samples; the same corpus and settings number them alike.
    labels, predicted : int array, shape (N,)
        True and predicted classes.
    owners : str array, shape (N,)
        Name of the natural owner (speaker, actor, video) of each.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    owners: NDArray[np.str_]

    def __post_init__(self) -> None:
        lengths = {len(self.rows), len(self.labels), len(self.predicted), len(self.owners)}
        if len(lengths) > 1:
            raise RunError(f"predictions of {sorted(lengths)} samples do not belong together; run again")

    def matches(self, other: Predictions) -> bool:
        """Whether both are about the very same samples in the same order."""
        return np.array_equal(self.rows, other.rows) and np.array_equal(self.labels, other.labels)


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One run folder.

    Parameters
    ----------
    folder : Path
        Where it lies.
    name : str
        As a person calls it.
    config : RunConfig
        ``config.toml``.
    summary : mapping or None
        ``summary.json``; None for a run that has not ended.
    """

    folder: Path
    name: str
    config: RunConfig
    summary: Mapping[str, Any] | None

    @classmethod
    def read(cls, folder: Path) -> RecordedRun:
        """Read a run folder.

        Raises
        ------
        RunError
            If it is none, or one of its files is damaged.
        """
        stored = RunFolder.open(folder)
        summary = stored.summary() if (folder / SUMMARY).is_file() else None
        return cls(folder, folder.resolve().name, stored.config, summary)

    def rounds(self) -> list[dict[str, Any]]:
        """Lines of ``metrics.jsonl``."""
        return RunFolder(self.folder, self.config).metrics()

    def folds(self) -> list[RecordedRun]:
        """The runs of a cross-validation, in order; none for a single run."""
        return [RecordedRun.read(p) for p in fold_folders(self.folder)]

    def predictions(self) -> Predictions | None:
        """Test predictions, those of all folds together; None where none were kept."""
        if (self.folder / PREDICTIONS).is_file():
            stored = RunFolder(self.folder, self.config).predictions()
            if "rows" not in stored:
                return None
            owners = stored["group_names"][stored["groups"]]
            return Predictions(stored["rows"], stored["labels"], stored["predictions"], owners)
        parts = [p for fold in self.folds() if (p := fold.predictions()) is not None]
        if not parts:
            return None
        return Predictions(
            np.concatenate([p.rows for p in parts]),
            np.concatenate([p.labels for p in parts]),
            np.concatenate([p.predicted for p in parts]),
            np.concatenate([p.owners for p in parts]),
        )


def fold_folders(folder: Path) -> list[Path]:
    """Folders ``fold-1``, ``fold-2``, … that hold a run, in order."""
    found = [p for p in folder.glob("fold-*") if (p / CONFIG).is_file() and p.name.removeprefix("fold-").isdecimal()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("fold-")))


def recorded_runs(folder: Path) -> Iterator[RecordedRun]:
    """Every run right below a folder, and those of the sweeps in it, by name.

    Raises
    ------
    RunError
        If the folder does not exist, or a run in it is damaged.
    """
    for name, path in run_folders(folder):
        yield replace(RecordedRun.read(path), name=name)


def run_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of every run right below a folder and of those of the sweeps in it, unread.

    Raises
    ------
    RunError
        If the folder does not exist.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder; fedaffect simulate makes it, or point at another")
    for path in sorted(folder.iterdir()):
        if (path / CONFIG).is_file():
            yield path.name, path
        elif (path / SWEEP).is_file():
            yield from ((f"{path.name}/{name}", run) for name, run in run_folders(path))
