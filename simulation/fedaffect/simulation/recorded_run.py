"""A run read back from its folder, whole or not: settings, rounds, summary, predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.plugins import Offer, offering
from fedaffect.edge.errors import RunError
from fedaffect.server.federation.checkpoint import Checkpoint
from fedaffect.server.federation.run_folder import CONFIG, PAGE, PREDICTIONS, SUMMARY, RunFolder
from fedaffect.server.federation.settings import FINE_TUNED, RunSettings

if TYPE_CHECKING:
    from torch.nn import Module

SWEEP = "sweep.json"
# The folders of a run that is retrained with its development split.
CHOOSING, RETRAINED = "choosing", "retrained"


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
    config : RunSettings
        ``config.toml``.
    summary : mapping or None
        ``summary.json``; None for a run that has not ended.
    objects : mapping
        Python objects that the run was given, such as its model.
    """

    folder: Path
    name: str
    config: RunSettings
    summary: Mapping[str, Any] | None
    objects: Offer = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, folder: Path, objects: Offer | None = None) -> RecordedRun:
        """Read a run folder.

        Raises
        ------
        RunError
            If it is none, or one of its files is damaged.
        """
        stored = RunFolder.open(folder)
        summary = stored.summary() if (folder / SUMMARY).is_file() else None
        return cls(folder, folder.resolve().name, stored.config, summary, objects or {})

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """A line of ``metrics.jsonl`` for each round; none where a run is of folds, each of which has its own."""
        return self._trained.metrics()

    @property
    def report(self) -> Path:
        """The page that a browser shows."""
        return self.folder / PAGE

    def checkpoint(self, round: int | None = None) -> Checkpoint:
        """Parameters of the fusion layer after a round, and what the strategy remembers.

        Parameters
        ----------
        round : int, optional
            Counted from 1; the best round if not given, or the newest of a run that has not ended.

        Raises
        ------
        RunError
            If that round has no checkpoint, or the run is one of folds.
        """
        if folds := len(fold_folders(self.folder)):
            raise RunError(f"{self.name} is a run of {folds} folds, each with a model of its own; use .folds[0]")
        checkpoints = self._trained.checkpoints
        if round is None:
            best = (self.summary or {}).get("best_round")
            round = int(best) if best is not None else max(checkpoints.rounds(), default=1)
        return checkpoints.load(round)

    def model(self, round: int | None = None) -> Module:
        """The fusion model as it was after a round: ``model(tokens, present)`` gives scores of shape (B, C).

        Parameters
        ----------
        round : int, optional
            As for :meth:`checkpoint`.

        Returns
        -------
        torch.nn.Module
            On the CPU, in evaluation mode.

        Raises
        ------
        RunError
            If the run has not ended, that round has no checkpoint, or the run is one of folds.
        ConfigError
            If the model was given as a Python object: pass it to `open_run` again.
        """
        arrays = self.checkpoint(round).arrays
        if self.summary is None:
            raise RunError(f"{self.name} is not finished; go on with fedaffect simulate --resume {self.folder}")
        if self.config.federation.mode == FINE_TUNED:
            raise RunError(
                f"{self.name} trained encoders too; its model is {self.folder / 'model'}, for fedaffect server serve"
            )
        # Here, not above: listing runs needs no torch.
        from fedaffect.client.models.registry import build_model, load_arrays

        config, about = self.config, self.summary
        rated = len(about.get("rating_names", ()))
        answers = len(about["label_names"]) + rated
        with offering(self.objects):
            model = build_model(config.model.model, about["widths"], answers, config.model.model_options, rated)
        load_arrays(model, arrays)
        return model.eval()

    @property
    def _trained(self) -> RunFolder:
        """The folder that holds rounds: of a run retrained with its development split, the second one's."""
        again = self.folder / RETRAINED
        return RunFolder(again if (again / CONFIG).is_file() else self.folder, self.config)

    @property
    def folds(self) -> list[RecordedRun]:
        """The runs of a cross-validation, in order; none for a single run."""
        return [RecordedRun.read(p, self.objects) for p in fold_folders(self.folder)]

    @property
    def predictions(self) -> Predictions | None:
        """Test predictions, those of all folds together; None where none were kept."""
        if (self.folder / PREDICTIONS).is_file():
            stored = RunFolder(self.folder, self.config).predictions()
            if "rows" not in stored:
                return None
            owners = stored["group_names"][stored["groups"]]
            return Predictions(stored["rows"], stored["labels"], stored["predictions"], owners)
        parts = [p for fold in self.folds if (p := fold.predictions) is not None]
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
