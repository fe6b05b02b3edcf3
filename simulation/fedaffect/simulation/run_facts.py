"""Run folders as lines and tables: the same for `fedaffect runs` and for the server's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import FedAffectError, RunError, nearest
from fedaffect.server.federation.run_folder import METRICS, SUMMARY
from fedaffect.simulation.comparison import words
from fedaffect.simulation.comparison.compare import compare, sides_of
from fedaffect.simulation.recorded_run import SWEEP, RecordedRun, run_folders


class RunFolders:
    """The runs below a folder, by name; nothing outside it is read, whatever name is asked for.

    Parameters
    ----------
    folder : Path
        Where run folders lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listed(self) -> list[dict[str, Any]]:
        """A line for each run; a damaged one says so.

        Raises
        ------
        RunError
            If the folder does not exist.
        """
        return [facts_or_damage(name, folder) for name, folder in run_folders(self._folder)]

    def sweeps(self) -> list[str]:
        """Names of sweeps, whose settings can be compared over their seeds."""
        return sorted(path.parent.name for path in self._folder.glob(f"*/{SWEEP}"))

    def shown(self, name: str) -> dict[str, Any]:
        """One run: ``facts``, ``settings``, ``rounds`` and ``summary``.

        Raises
        ------
        RunError
            If there is none of that name, or it is damaged.
        """
        run = replace(RecordedRun.read(self._run(name)), name=name)
        return {
            "facts": facts(run),
            "settings": run.config.to_dict(),
            "rounds": run.rounds,
            "summary": run.summary,
        }

    def compared(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Each further run or sweep's setting against the first: ``title``, ``headings``, ``rows``, ``verdict``.

        Raises
        ------
        RunError
            If they cannot be compared.
        """
        known = {**self._runs(), **{name: self._folder / name for name in self.sweeps()}}
        sides = [side for name in dict.fromkeys(names) for side in sides_of(_known(name, known))]
        return [
            {
                "title": words.title(each),
                "headings": list(words.HEADINGS),
                "rows": [list(row) for row in words.rows(each)],
                "verdict": each.verdict(),
            }
            for each in compare(sides)
        ]

    def sizes(self) -> dict[str, tuple[int, bool]]:
        """Bytes of metrics that each run has, and whether it is over: what changes while it learns."""
        return {name: (_size(folder / METRICS), (folder / SUMMARY).is_file()) for name, folder in self._runs().items()}

    def rounds(self, name: str) -> list[dict[str, Any]]:
        """Lines of a run's metrics.

        Raises
        ------
        RunError
            If there is no such run, or it is damaged.
        """
        return RecordedRun.read(self._run(name)).rounds

    def _runs(self) -> dict[str, Path]:
        return dict(run_folders(self._folder)) if self._folder.is_dir() else {}

    def _run(self, name: str) -> Path:
        return _known(name, self._runs())


def facts_or_damage(name: str, folder: Path) -> dict[str, Any]:
    """What there is to list of a run: one that cannot be read must not hide the others."""
    try:
        return facts(replace(RecordedRun.read(folder), name=name))
    except FedAffectError as error:
        return {"name": name, "folder": str(folder), "finished": False, "test": None, "damaged": str(error)}


def facts(run: RecordedRun) -> dict[str, Any]:
    """A run in a line."""
    config, summary = run.config, run.summary or {}
    test: Mapping[str, Any] = summary.get("test") or {}
    return {
        "name": run.name,
        "folder": str(run.folder),
        "dataset": config.data.dataset,
        "labels": config.data.labels,
        "modalities": list(config.data.modalities),
        "partition": config.data.partition,
        "how": (config.federation.strategy if config.federation.mode == "federated" else config.federation.mode)
        + (f", {config.evaluation.folds} folds" if config.evaluation.folds and config.evaluation.fold is None else ""),
        "differences": config.chosen,
        "clients": summary.get("clients"),
        "rounds": summary.get("rounds", len(run.rounds)),
        "planned": config.federation.rounds,
        "seed": config.federation.seed,
        "finished": run.summary is not None,
        "best_round": summary.get("best_round"),
        "test": {key: test[key] for key in FIGURES if key in test} or None,
    }


def _known(name: str, known: Mapping[str, Path]) -> Path:
    if name not in known:
        near = nearest(name, known)
        said = f"did you mean {near!r}?" if near else "'fedaffect runs list' shows those there are"
        raise RunError(f"there is no run {name[:100]!r} here; {said}")
    return known[name]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
