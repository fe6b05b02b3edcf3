"""`fedaffect fleet certify`: devices' keys certified by who keeps the authority's private key away from the server."""

from __future__ import annotations

from pathlib import Path

import click

from fedaffect.server.cli.fleet_option import fleet_option


@click.command()
@fleet_option
@click.option(
    "--key",
    "key_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The authority's private key (authority/ca.key), from where you keep it.",
)
@click.option(
    "--days", type=click.FloatRange(1, 365), default=30.0, show_default=True, help="How long certificates count."
)
def certify(fleet_path: Path | None, key_path: Path, days: float) -> None:
    """Certify the keys of all enrolled devices, which get the certificates at their next check-in.

    Where authority/ca.key lies in the fleet's folder the service does so by itself. A server that has this key could
    invent devices, and surround a real one with them in a secure sum (--secagg). Move the key away, and run this after
    devices joined or changed their keys, and before certificates run out. Compare the list with the devices that you
    know. fedaffect fleet rotate --certificate wants the key back for a moment.
    """
    from fedaffect.server.fleet.setup.device_certificates import DeviceCertificates
    from fedaffect.server.fleet.setup.folder import FleetFolder
    from fedaffect.server.registry import Registry

    folder = FleetFolder.open(fleet_path)
    with Registry.open(folder.settings.registry) as registry:
        certified = DeviceCertificates(folder.authority, registry).lay_ready(key_path, days)
    for device in certified:
        click.echo(f"{device.name} ({device.id}), number {device.partition}, enrolled {device.enrolled:%Y-%m-%d}")
    click.echo(f"{len(certified)} devices are certified for {days:g} days")
