"""Running a table: row by row through the runs of ``fedaffect simulate``, going on where an earlier call stopped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedaffect.edge.errors import FedAffectError, RunError
from fedaffect.edge.system.only_one import only_one
from fedaffect.server.federation.checkpoint import write_atomically
from fedaffect.server.federation.settings import FINE_TUNED, RunSettings
from fedaffect.server.ray_session import ray_session
from fedaffect.server.starting_point import with_start
from fedaffect.simulation.many_runs import run_many
from fedaffect.simulation.recorded_run import RecordedRun, recorded_runs
from fedaffect.simulation.reproducing.at_hand import AtHand
from fedaffect.simulation.reproducing.drawing import draw
from fedaffect.simulation.reproducing.elsewhere import answers_elsewhere
from fedaffect.simulation.reproducing.results import CountResult, RowResult, TableResult
from fedaffect.simulation.reproducing.table import Count, Row, Table
from fedaffect.simulation.reproducing.writing import write_table
from fedaffect.simulation.running import Runner

_RUNS, _ELSEWHERE = "runs", "elsewhere.json"
# Enough to see that a row runs, and no more.
_QUICK: Mapping[str, Any] = {"rounds": 2, "eval_every": 1}


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Runs tables.

    Parameters
    ----------
    runner : Runner
        Carries out each run and shows it.
    at_hand : AtHand
    out : Path
        Gets a folder for each table.
    quick : bool
        Two rounds, one seed and one fold of every row, in folders of their own.
    overwrite : bool
        Run finished rows again.
    actors : int, optional
        Ray actors; one a core if not given.
    say : callable of str
        Told of each row.
    """

    runner: Runner
    at_hand: AtHand
    out: Path
    quick: bool
    overwrite: bool
    actors: int | None
    say: Callable[[str], None]

    def run(self, table: Table, only: str = "") -> TableResult:
        """Run a table, and write it again after each row.

        Parameters
        ----------
        table : Table
        only : str
            Run rows whose name holds this, and those that they need; of the others what earlier calls left is shown.

        Raises
        ------
        RunError
            If another process makes this table in this folder now.
        """
        folder = self.out / (f"{table.name}-quick" if self.quick else table.name)
        folder.mkdir(parents=True, exist_ok=True)
        # Two would write into the same runs.
        taken = f"another process makes {folder} now; wait for its end, or give another --out"
        with only_one(folder / ".lock", taken):
            return self._made(table, only, folder)

    def _made(self, table: Table, only: str, folder: Path) -> TableResult:
        counts = [self._counted(count) for count in table.counts]
        rows = _chosen(table, only)
        lacking = {row.name: self._lacking(table, row) for row in table.rows}
        done = {row.name: self._as_it_is(row, lacking[row.name], folder / _RUNS) for row in table.rows}
        result = TableResult(table, list(done.values()), counts, folder, self.quick)
        wants_ray = any(not lacking[row.name] and row.settings.get("mode") != FINE_TUNED for row in rows)
        with ray_session(cores=self.actors) if wants_ray else nullcontext():
            for number, row in enumerate(rows, start=1):
                self.say(f"{table.name}: {row.name} ({number} of {len(rows)})")
                done[row.name] = self._row(table, row, lacking[row.name], folder / _RUNS, done)
                if why := done[row.name].why_not:
                    self.say(f"  {why}")
                result = TableResult(table, list(done.values()), counts, folder, self.quick)
                write_table(result)
        write_table(result, draw(result))
        return result

    def _as_it_is(self, row: Row, lacking: str, runs: Path) -> RowResult:
        """What earlier calls left of a row."""
        if lacking:
            return RowResult(row, why_not=lacking)
        folder = runs / row.slug
        if (folder / _ELSEWHERE).is_file():
            return RowResult(row, elsewhere=json.loads((folder / _ELSEWHERE).read_text(encoding="utf-8")))
        finished = _finished(folder)
        return RowResult(row, finished, why_not="" if finished else "not run yet")

    def _lacking(self, table: Table, row: Row) -> str:
        """Why nothing can be run for a row; empty where something can."""
        if row.why_not or not row.dataset:
            return row.why_not or "published figures only"
        try:
            return self.at_hand.lacking(row.dataset, _settings(row, table), row.networks)
        except FedAffectError as error:
            return f"cannot be read: {error}"

    def _row(self, table: Table, row: Row, lacking: str, runs: Path, done: Mapping[str, RowResult]) -> RowResult:
        if lacking:
            return RowResult(row, why_not=lacking)
        settings = _settings(row, table)
        try:
            for needed in (row.answers_of,) if row.answers_of else row.after:
                if not done[needed].runs:
                    return RowResult(row, why_not=f"needs {needed}, which {done[needed].why_not or 'did not run'}")
            if row.answers_of:
                return self._elsewhere(row, settings, runs / row.slug, done[row.answers_of])
            begins = [done[name].runs for name in row.after]
            return RowResult(row, self._runs(table, row, settings, runs, begins))
        except FedAffectError as error:
            return RowResult(row, why_not=f"failed: {error}", failed=True)

    def _runs(
        self,
        table: Table,
        row: Row,
        settings: dict[str, Any],
        runs: Path,
        begins: Sequence[Mapping[int, RecordedRun]],
    ) -> dict[int, RecordedRun]:
        """Runs of all seeds, by seed: those that are finished are taken, those begun go on.

        What they begin from is by seed, too.
        """
        if self.quick:
            settings |= {**_QUICK, **({"fold": 1} if settings.get("folds") else {})}
        where = {"dataset": row.dataset, **self.at_hand.place(row.dataset), "out": runs, "name": row.slug}
        seeds = [s for s in (table.seeds[:1] if self.quick else table.seeds) if all(s in each for each in begins)]
        errors: list[str] = []
        for together in [(seed,) for seed in seeds] if begins else [seeds]:
            first = {"start_from": ",".join(str(each[together[0]].folder) for each in begins)} if begins else {}
            chosen = {**settings, **self.at_hand.networks(row.networks), **where, "actors": self.actors, **first}
            run_many(self.runner, with_start(chosen), [], together, self.overwrite, errors.append)
        if errors:
            raise RunError(errors[0])
        return _finished(runs / row.slug)

    def _elsewhere(self, row: Row, settings: dict[str, Any], folder: Path, trained: RowResult) -> RowResult:
        """What the models of another row answer on this one's corpus; kept beside its runs."""
        path = folder / _ELSEWHERE
        if path.is_file() and not self.overwrite:
            return RowResult(row, elsewhere=json.loads(path.read_text(encoding="utf-8")))
        found = []
        for run in trained.runs.values():
            for model in run.folds or [run]:
                # Another corpus, read with what the model learned from.
                other = RunSettings.of(
                    {"dataset": row.dataset, **_kept(model.config), **settings, **self.at_hand.place(row.dataset)}
                )
                found.append(answers_elsewhere(model, other, self.runner))
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(found, indent=2) + "\n").encode())
        return RowResult(row, elsewhere=found)

    def _counted(self, count: Count) -> CountResult:
        if why_not := self.at_hand.missing(count.dataset):
            return CountResult(count, None, why_not)
        found = Counter(u.label for u in self.at_hand.utterances(count.dataset) if count.split in ("", u.split))
        return CountResult(count, dict(found))


def _finished(folder: Path) -> dict[int, RecordedRun]:
    """Finished runs of a row, by seed."""
    runs = recorded_runs(folder) if folder.is_dir() else ()
    return {run.config.federation.seed: run for run in runs if run.summary is not None}


def _chosen(table: Table, only: str) -> list[Row]:
    """Rows that were asked for, with those that they begin from, answer for, or are compared with."""
    wanted = {row.name for row in table.rows if only.lower() in row.name.lower()}
    for row in reversed(table.rows):
        if row.name in wanted:
            wanted |= {name for name in (*row.after, row.answers_of) if name}
    return [row for row in table.rows if row.name in wanted]


def _settings(row: Row, table: Table) -> dict[str, Any]:
    """A row's own; where it answers with another's models, those of that row decide what is read."""
    if not row.answers_of:
        return dict(row.settings)
    of = table.row(row.answers_of).settings
    return {key: of[key] for key in ("labels", "modalities", "normalise") if key in of} | dict(row.settings)


def _kept(config: RunSettings) -> dict[str, Any]:
    """Of a run's settings, what decides how a corpus is read for its model."""
    kept = ("labels", "modalities", "normalise", "context", "bundle", "audio_features", "video_features")
    return {key: config[key] for key in kept}
