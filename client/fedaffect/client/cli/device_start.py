"""`fedaffect device start`: the device at work."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

import click

from fedaffect.client.cli.device_option import device_option


@click.command()
@device_option
@click.option(
    "--on-event",
    metavar="COMMAND",
    help="Run this for each event; it gets one line of JSON: bundle, left, shared, approved or revoked.",
)
def start(device_path: Path | None, on_event: str | None) -> None:
    """Run this device's SuperNode and trainer until interrupted, or until the fleet revokes it.

    \b
      fedaffect device start --on-event "notify-app --json"
    """  # noqa: D301
    from fedaffect.client.device.events import ProgramHook, nobody
    from fedaffect.client.device.folder import DeviceFolder
    from fedaffect.client.device.starting import DeviceAtWork
    from fedaffect.client.device.updates import Updates
    from fedaffect.edge.system.processes import stop_on_signals

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    folder = DeviceFolder.open(device_path)
    settings = folder.settings
    program = ProgramHook(shlex.split(on_event)) if on_event else None
    tell = program or nobody
    work = DeviceAtWork(folder, Updates(folder, on_event=tell).follow, tell)
    stop_on_signals(work.stop)
    click.echo(f"{settings.name} learns with {settings.superlink}; logs in {folder.logs}")
    try:
        work.run()
    finally:
        if program is not None:
            program.close()
