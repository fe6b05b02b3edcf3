"""Standard output as commands print tables to it."""

from __future__ import annotations

from rich.console import Console


def stdout(pipe_width: int = 160) -> Console:
    """Standard output; where it is no terminal, wide enough that a row stays a line.

    Parameters
    ----------
    pipe_width : int
        Columns where it is no terminal.
    """
    console = Console()
    return console if console.is_terminal else Console(width=pipe_width)
