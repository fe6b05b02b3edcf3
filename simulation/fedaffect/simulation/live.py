"""What a person sees while a run learns: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.status import Status
from rich.table import Table
from rich.text import Text

from fedaffect.client.cohort import Cohort
from fedaffect.client.corpora.base import CONSTRUCTED
from fedaffect.client.figures import CHOSEN_BY
from fedaffect.edge.system.progress import Heartbeat
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.privacy.words import spent
from fedaffect.server.federation.settings import FINE_TUNED, RunSettings

_ROUNDS_SHOWN = 8


def live(console: Console, quiet: bool, title: str = "") -> list[LiveTable | FewLines]:
    """What shows a run: nothing if quiet, a live table on a terminal, else a few lines.

    Parameters
    ----------
    console : Console
        Where to; standard error, as a rule.
    quiet : bool
        Show nothing.
    title : str
        Says which of several runs this is, such as ``"fold 2 of 6"``.
    """
    if quiet:
        return []
    return [LiveTable(console, title)] if console.is_terminal else [FewLines(console, title)]


class LiveTable:
    """The last rounds, a progress bar and the time left, redrawn in place.

    Parameters
    ----------
    console : Console
    title : str
        Which of several runs this is.
    """

    def __init__(self, console: Console, title: str = "") -> None:
        self._console = console
        self._title = title
        self._records: deque[RoundRecord] = deque(maxlen=_ROUNDS_SHOWN)
        self._best: tuple[int, float] | None = None
        self._failures = 0
        self._chosen_by = ""
        self._status: Status | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._live: Live | None = None

    def starting(self, what: str) -> None:
        """Say that the run will begin once this is there."""
        self._status = self._console.status(f"starting {what}")
        self._status.start()

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Say what runs and draw an empty table."""
        if self._status is not None:
            self._status.stop()
        self._chosen_by = config.evaluation.select_by
        self._console.print(f"{self._title + ': ' if self._title else ''}{headline(config, cohort, parameters)}")
        self._task = self._bar.add_task(
            "rounds", total=None if config.federation.mode == "local-only" else config.federation.rounds
        )
        self._live = Live(self._drawn(), console=self._console, refresh_per_second=8, transient=False)
        self._live.start()

    def round_finished(self, record: RoundRecord) -> None:
        """Add a round and drop the oldest."""
        self._records.append(record)
        self._failures += record.failures
        figure = record.dev[self._chosen_by] if record.dev else None
        if figure is not None and (self._best is None or figure > self._best[1]):
            self._best = (record.round, figure)
        if self._task is not None:
            # A resumed run starts in the middle.
            self._bar.update(self._task, completed=record.round)
        if self._live is not None:
            self._live.update(self._drawn())

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Leave the last table standing."""
        self.close()

    def close(self) -> None:
        """Stop drawing; also when the run failed."""
        if self._status is not None:
            self._status.stop()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _drawn(self) -> Group:
        table = Table(box=None, padding=(0, 2), header_style="bold")
        rows = [(record.round, cells(record, self._chosen_by)) for record in self._records]
        # A figure that no shown round has (no development split, no loss under privacy) takes no column.
        names = [name for name in _columns(self._chosen_by) if any(name in row for _, row in rows)]
        for name in ("round", *names):
            table.add_column(name, justify="right", min_width=9 if name in ("up", "down") else 5)
        for number, row in rows:
            best = self._best is not None and number == self._best[0]
            values = (row.get(name, "–") for name in names)
            table.add_row(str(number), *values, style="bold green" if best else "")
        notes = []
        if self._best is not None:
            number, value = self._best
            notes.append(f"best on development: round {number}, {CHOSEN_BY[self._chosen_by]} {value:.3f}")
        if self._failures:
            reason = next((r.first_failure for r in reversed(self._records) if r.first_failure), "")
            notes.append(f"{self._failures} client updates failed{f': {reason}' if reason else ''}")
        return Group(table, Text("; ".join(notes), style="dim"), self._bar)


class FewLines:
    """At most a line every tenth of the rounds, for logs.

    Parameters
    ----------
    console : Console
    title : str
        Which of several runs this is.
    """

    def __init__(self, console: Console, title: str = "") -> None:
        self._console = console
        self._prefix = f"{title}: " if title else ""
        self._rounds = 1
        self._next = 1
        self._chosen_by = ""
        self._heartbeat: Heartbeat | None = None

    def starting(self, what: str) -> None:
        """Say every few seconds, until the first round is over, that the run is about to begin."""
        said = f"starting {what}"
        self._heartbeat = Heartbeat(self._say, lambda seconds: f"{said}, {seconds:.0f} s" if seconds else said)

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Say what runs."""
        self._rounds = config.federation.rounds
        self._chosen_by = config.evaluation.select_by
        if config.federation.mode == "local-only":
            size = config.clients_a_round(cohort.num_clients)
            self._rounds = -(-cohort.num_clients // size)
        self._say(headline(config, cohort, parameters))

    def round_finished(self, record: RoundRecord) -> None:
        """A line if it is time for one."""
        self.close()
        if record.round < self._next and record.round != self._rounds:
            return
        self._next = record.round + max(1, self._rounds // 10)
        failed = f", {record.failures} failed" if record.failures else ""
        values = ", ".join(f"{name} {value}" for name, value in cells(record, self._chosen_by).items())
        self._say(f"round {record.round}/{self._rounds}: {values}{failed}")

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Nothing: the command says how it ended."""

    def close(self) -> None:
        """Say no more that it is starting."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None

    def _say(self, words: str) -> None:
        self._console.print(f"{self._prefix}{words}", highlight=False, markup=False, soft_wrap=True)


def headline(config: RunSettings, cohort: Cohort, parameters: int) -> str:
    """What is about to run, in a line."""
    data = CONSTRUCTED.get(config.data.dataset, config.data.dataset)
    how = {
        "centralized": "pooled (centralized)",
        FINE_TUNED: "its encoders learn too",
        "local-only": f"{cohort.num_clients:,} clients, each alone",
    }.get(
        config.federation.mode,
        f"{config.federation.strategy} over {cohort.num_clients:,} clients ({config.data.partition})",
    )
    return (
        f"{config.model.model} of {parameters:,} parameters learns {config.data.labels} "
        f"from {', '.join(config.data.modalities)} of {data}; {how}, {len(cohort.client_rows):,} training samples"
    )


def _columns(chosen_by: str) -> tuple[str, ...]:
    return "clients", "loss", f"dev {CHOSEN_BY[chosen_by]}", "ε", "updates/s", "up", "down", "ETA"


def cells(record: RoundRecord, chosen_by: str) -> dict[str, str]:
    """A round as the table's columns say it; without those that were not measured.

    Parameters
    ----------
    record : RoundRecord
    chosen_by : str
        The figure on dev that picks the best round.
    """
    values = (
        str(record.clients),
        "" if record.train_loss is None else f"{record.train_loss:.4f}",
        f"{record.dev[chosen_by]:.3f}" if record.dev else "",
        spent(record.privacy).removeprefix("ε "),
        f"{record.updates_per_second:,.1f}",
        size(record.bytes_up),
        size(record.bytes_down),
        duration(record.eta_s),
    )
    return {name: value for name, value in zip(_columns(chosen_by), values, strict=True) if value}


def size(number_of_bytes: float) -> str:
    """Bytes in decimal units: ``4.1 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if number_of_bytes < 1000:
            return f"{number_of_bytes:.0f} {unit}" if unit == "B" else f"{number_of_bytes:.1f} {unit}"
        number_of_bytes /= 1000
    return f"{number_of_bytes:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds as ``8s``, ``2m05s`` or ``3h20m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
