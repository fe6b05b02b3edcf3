"""`fedaffect device start`: the device at work."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from client.commands.device_option import device_option
from client.device.folder import DeviceFolder
from client.device.processes import stop_on_signals
from client.device.starting import DeviceAtWork
from client.device.updates import Updates


@click.command()
@device_option
def start(device_path: Path | None) -> None:
    """Run this device's SuperNode and trainer until interrupted, or until the fleet revokes it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    folder = DeviceFolder.at(device_path)
    settings = folder.settings
    work = DeviceAtWork(folder, Updates(folder).follow)
    stop_on_signals(work.stop)
    click.echo(f"{settings.name} learns with {settings.superlink}; logs in {folder.logs}")
    work.run()
