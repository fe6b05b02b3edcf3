"""`fedaffect demo`: what the system is for, shown on constructed people."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final

import click

_NOT_CLOSED: Final = 1


@click.group()
def demo() -> None:
    """Show what the system does, on constructed people and with the real commands."""


@demo.command()
@click.option(
    "--keep",
    "kept",
    type=click.Path(path_type=Path, file_okay=False),
    help="New folder for all that the machines write, which stays.  [default: a temporary one, deleted at the end]",
)
def circle(kept: Path | None) -> None:
    """Show the whole circle in about two minutes: what people say of an answer makes everybody's next answer better.

    Three constructed people have a device each. They say friendly words and mean them bitterly, which the device takes
    for joy. Two of them correct such answers (edge feedback); the fleet learns from that (fleet run), while what was
    said stays on the devices; a new bundle goes to all three (rollout), and each asks the same again. Fleet and devices
    are processes of their own that talk over TLS. They start from the bundle that this machine uses. No noise is added
    here: what hides a person among two leaves nothing to see.

    Exit code 0: both who corrected an answer get the right one from the new bundle. 1: one of them does not. 2: a step
    failed.

    \b
      fedaffect bundle build --if-missing            the bundle to start from, where there is none
      fedaffect demo circle
      fedaffect demo circle --keep circle            look at circle/server/fleet/runs/circle/report.html afterwards
    """  # noqa: D301
    from fedaffect.edge.bundle import Bundle, usual_bundle_path
    from fedaffect.edge.cli.output import stdout
    from fedaffect.edge.errors import ConfigError
    from fedaffect.server.demo.circle import Circle
    from fedaffect.server.demo.people import PEOPLE
    from fedaffect.server.demo.table import CircleTable

    if kept is not None and kept.exists():
        raise ConfigError(f"{kept} exists already; give --keep a new folder")
    bundle = Bundle.load(usual_bundle_path())
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="fedaffect-circle-") as scratch, CircleTable(stdout()) as table:
        going = Circle(kept or Path(scratch), bundle, PEOPLE, table.watch)
        closed = going.run()
    right = "the circle is closed: answers that were corrected are right now"
    click.echo(right if closed else "the circle is not closed: an answer that was corrected is still wrong")
    if kept is not None:
        click.echo(f"all of it is in {kept}; the run's report: {going.report}")
    if not closed:
        sys.exit(_NOT_CLOSED)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """As Ctrl-C does: processes are ended and folders deleted on the way out."""
    raise KeyboardInterrupt
