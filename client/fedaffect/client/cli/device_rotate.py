"""`fedaffect device rotate`: a new key for a device that stays in its fleet."""

from __future__ import annotations

from pathlib import Path

import click

from fedaffect.client.cli.device_option import device_option


@click.command()
@device_option
def rotate(device_path: Path | None) -> None:
    """Give this device a new key; it stays in the fleet, with its consent, its budget and its examples.

    The key identifies the device to the fleet's service and to Flower. It is valid for a year. Change it before that,
    and at once if somebody may have a copy, from an old backup for example: when this command ends, the old key is
    refused.

    A new key is made here, the fleet adds it while the old one is still valid, it replaces the old one in the device's
    folder, and the old one is revoked. A running device switches to the new key by itself; it may fail once, in the
    current round. If the command is interrupted, repeat it within a day. Revoke a device that was lost instead:
    fedaffect fleet revoke.
    """
    from fedaffect.client.device.folder import DeviceFolder
    from fedaffect.client.device.rotating import rotate as change

    folder = DeviceFolder.open(device_path)
    resumed = change(folder)
    made = ", made by a rotation that was interrupted" if resumed else ""
    click.echo(f"{folder.settings.name} has a new key{made}; the old one is refused from now on")
