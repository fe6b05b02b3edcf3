"""What a person sees while a run learns: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.settings import RunSettings

_ROUNDS_SHOWN = 8
_COLUMNS = ("round", "clients", "loss", "dev UAR", "updates/s", "up", "down", "ETA")


def live(console: Console, quiet: bool, title: str = "") -> list[LiveTable | FewLines]:
    """Whoever shows a run: nobody if quiet, a live table on a terminal, else a few lines.

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
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: TaskID | None = None
        self._live: Live | None = None

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Say what runs and draw an empty table."""
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
        uar = record.dev["uar"] if record.dev else None
        if uar is not None and (self._best is None or uar > self._best[1]):
            self._best = (record.round, uar)
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
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _drawn(self) -> Group:
        table = Table(box=None, padding=(0, 2), header_style="bold")
        for name in _COLUMNS:
            table.add_column(name, justify="right", min_width=9 if name in ("up", "down") else 5)
        for record in self._records:
            best = self._best is not None and record.round == self._best[0]
            table.add_row(*cells(record), style="bold green" if best else "")
        notes = []
        if self._best is not None:
            notes.append(f"best on development: round {self._best[0]}, UAR {self._best[1]:.3f}")
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

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Say what runs."""
        self._rounds = config.federation.rounds
        if config.federation.mode == "local-only":
            size = config.clients_a_round(cohort.num_clients)
            self._rounds = -(-cohort.num_clients // size)
        self._say(headline(config, cohort, parameters))

    def round_finished(self, record: RoundRecord) -> None:
        """A line if it is time for one."""
        if record.round < self._next and record.round != self._rounds:
            return
        self._next = record.round + max(1, self._rounds // 10)
        named = zip(_COLUMNS[1:], cells(record)[1:], strict=True)
        failed = f", {record.failures} failed" if record.failures else ""
        values = ", ".join(f"{name} {value}" for name, value in named)
        self._say(f"round {record.round}/{self._rounds}: {values}{failed}")

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Nothing: the command says how it ended."""

    def close(self) -> None:
        """Nothing is open."""

    def _say(self, words: str) -> None:
        self._console.print(f"{self._prefix}{words}", highlight=False, markup=False, soft_wrap=True)


def headline(config: RunSettings, cohort: Cohort, parameters: int) -> str:
    """What is about to run, in a line."""
    data = "synthetic data" if config.data.dataset == "synthetic" else config.data.dataset
    how = {
        "centralized": "pooled (centralized)",
        "local-only": f"{cohort.num_clients:,} clients, each alone",
    }.get(
        config.federation.mode,
        f"{config.federation.strategy} over {cohort.num_clients:,} clients ({config.data.partition})",
    )
    return (
        f"{config.model.model} of {parameters:,} parameters learns {config.data.labels} "
        f"from {', '.join(config.data.modalities)} of {data}; {how}, {len(cohort.client_rows):,} training samples"
    )


def cells(record: RoundRecord) -> tuple[str, ...]:
    """A round as the table's columns say it."""
    return (
        str(record.round),
        str(record.clients),
        "–" if record.train_loss is None else f"{record.train_loss:.4f}",
        f"{record.dev['uar']:.3f}" if record.dev else "–",
        f"{record.updates_per_second:,.1f}",
        size(record.bytes_up),
        size(record.bytes_down),
        duration(record.eta_s),
    )


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
