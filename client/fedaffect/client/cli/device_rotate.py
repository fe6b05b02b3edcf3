"""`fedaffect device rotate`: a new key for a device that stays in its fleet."""

from __future__ import annotations

from pathlib import Path

import click

from fedaffect.client.cli.device_option import device_option
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.rotating import rotate as change


@click.command()
@device_option
def rotate(device_path: Path | None) -> None:
    """Give this device a new key; it stays in the fleet, with its consent, its budget and its examples.

    The key says who the device is, to the fleet's service and to Flower. Change it now and then, in any case within the
    year that it counts, and at once where a copy may have got away, such as with an old backup: from the end of this
    command on the old key opens nothing.

    What happens: a new key is made here, the fleet takes it in while the old one still counts, it replaces the old one
    in the device's folder, and the old one is revoked. A device at work goes on with the new key by itself, and may
    count as failed once, in the round under way. If anything is interrupted, give the same command again within a day:
    it goes on where it was. A device that was lost is not rotated but revoked: fedaffect fleet revoke.
    """
    folder = DeviceFolder.at(device_path)
    went_on = change(folder)
    again = ", which a change begun earlier had made" if went_on else ""
    click.echo(f"{folder.settings.name} has a new key{again}; the old one counts no more")
