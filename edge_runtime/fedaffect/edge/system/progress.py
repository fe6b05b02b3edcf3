"""Showing that something long is under way: on a terminal as a bar, elsewhere as a line every few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

# Between two lines.
EVERY_S = 5.0


class Heartbeat:
    """A line at once, and again every few seconds until it is stopped.

    Parameters
    ----------
    say : callable of str
        Prints a line; called from a thread of its own after the first line.
    words : callable of float, giving str
        The line after that many seconds.
    at_once : bool
        False leaves out the first line, for what is mostly over before the second.
    """

    def __init__(self, say: Callable[[str], None], words: Callable[[float], str], *, at_once: bool = True) -> None:
        self._say, self._words = say, words
        self._began = monotonic()
        self._over = Event()
        if at_once:
            say(words(0.0))
        self._thread = Thread(target=self._go_on, name="heartbeat", daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        while not self._over.wait(EVERY_S):
            self._say(self._words(monotonic() - self._began))

    def stop(self) -> None:
        """Say nothing more; may be called twice."""
        self._over.set()
        self._thread.join()


@contextmanager
def working(
    what: str, total: int | None = None, *, shown: bool = True, at_once: bool = True
) -> Iterator[Callable[[int], None]]:
    """Show on standard error that something is under way; gives what is called with the number of items done.

    Parameters
    ----------
    what : str
        Such as ``"encoding meld text"``.
    total : int, optional
        Items in all; None where they are not counted.
    shown : bool
        False shows nothing.
    at_once : bool
        As for :class:`Heartbeat`, where standard error is no terminal.
    """
    console = Console(stderr=True)
    if not shown:
        yield lambda count: None
    elif console.is_terminal:
        counted = (BarColumn(), MofNCompleteColumn()) if total is not None else ()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), *counted, TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda count: progress.advance(task, count)
    else:
        done = 0

        def add(count: int) -> None:
            nonlocal done
            done += count

        def words(seconds: float) -> str:
            counted = f": {done:,} of {total:,}" if total is not None else ""
            return f"{what}{counted}, {seconds:.0f} s" if seconds else f"{what}{counted}"

        def say(line: str) -> None:
            console.print(line, highlight=False, markup=False, soft_wrap=True)

        heartbeat = Heartbeat(say, words, at_once=at_once)
        try:
            yield add
        finally:
            heartbeat.stop()
