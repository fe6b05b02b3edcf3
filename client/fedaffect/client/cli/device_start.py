"""`fedaffect device start`: the device at work."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from fedaffect.client.cli.device_option import device_option


@click.command()
@device_option
def start(device_path: Path | None) -> None:
    """Run this device's SuperNode and trainer until interrupted, or until the fleet revokes it."""
    from fedaffect.client.device.folder import DeviceFolder
    from fedaffect.client.device.starting import DeviceAtWork
    from fedaffect.client.device.updates import Updates
    from fedaffect.edge.system.processes import stop_on_signals

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    folder = DeviceFolder.open(device_path)
    settings = folder.settings
    work = DeviceAtWork(folder, Updates(folder).follow)
    stop_on_signals(work.stop)
    click.echo(f"{settings.name} learns with {settings.superlink}; logs in {folder.logs}")
    work.run()
