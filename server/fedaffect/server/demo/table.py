"""What a person sees of a demonstration: a live table on a terminal; elsewhere a line a step, and the table at last."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fedaffect.server.demo.circle import ROUNDS, Circle, Part, Question

_REFRESHED_PER_S: Final = 8


class CircleTable:
    """Shows a circle; use it in a ``with``.

    Parameters
    ----------
    console : Console
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._circle: Circle | None = None
        self._steps: list[tuple[str, float]] = []
        self._words, self._began = "", 0.0
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._drawn, console=console, refresh_per_second=_REFRESHED_PER_S)

    def watch(self, circle: Circle) -> CircleTable:
        """Show this one from now on."""
        self._circle = circle
        return self

    def step(self, words: str) -> None:
        """A step begins, the one before is over."""
        now = time.monotonic()
        if self._words:
            self._steps.append((self._words, now - self._began))
        self._words, self._began = words, now
        if words and not self._console.is_terminal:
            self._console.print(f"{len(self._steps) + 1}. {words}", highlight=False, soft_wrap=True)

    def __enter__(self) -> CircleTable:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()
        else:
            self._console.print(self._people())

    def _drawn(self) -> RenderableType:
        steps: list[RenderableType] = [
            Text.assemble((" ✓ ", "green"), words, (f"  {seconds:.0f} s", "dim")) for words, seconds in self._steps
        ]
        if self._words:
            self._spinner.update(text=f" {self._words}{self._rounds()}")
            steps.append(self._spinner)
        return Group(*steps, Text(), self._people())

    def _rounds(self) -> str:
        rounds = self._circle.rounds if self._circle is not None else 0
        return f", {rounds} of {ROUNDS} rounds" if 0 < rounds < ROUNDS else ""

    def _people(self) -> Table:
        table = Table("person", "asks", "means", "before", "labels", "after", "bundle", box=None)
        table.title, table.title_justify = "constructed people: nobody real said any of this", "left"
        for part in self._circle.parts if self._circle is not None else ():
            for number, question in enumerate(part.questions):
                table.add_row(*_row(part, question, first=not number))
            if not part.questions:
                table.add_row(part.person.name, "", "", "", "", "", part.version[-8:])
        return table


def _row(part: Part, question: Question, *, first: bool) -> tuple[str | Text, ...]:
    return (
        part.person.name if first else "",
        question.text,
        question.meant,
        _judged(question.before, question.meant),
        (str(part.labels) if part.labels else "none") if first else "",
        _judged(question.after, question.meant),
        part.version[-8:] if first else "",
    )


def _judged(label: str, meant: str) -> Text:
    return Text(label, style="" if not label else "bold green" if label == meant else "red")
