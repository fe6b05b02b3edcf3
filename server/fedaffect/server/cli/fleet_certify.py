"""`fedaffect fleet certify`: devices' keys certified by who keeps the authority's private key away from the server."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from pathlib import Path

import click

from fedaffect.edge.cli.facts import json_option, say
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
@click.option("--yes", is_flag=True, help="Certify whom the registry lists, without asking.")
@json_option
def certify(fleet_path: Path | None, key_path: Path, days: float, yes: bool, as_json: bool) -> None:
    """Certify the keys of all enrolled devices, which get the certificates at their next check-in.

    Where authority/ca.key lies in the fleet's folder the service does so by itself. A server that has this key could
    invent devices, and surround a real one with them in a secure sum (--secagg). Move the key away, and run this after
    devices joined or changed their keys, and before certificates run out. You are shown whom the server's registry
    lists: say yes only to devices that you know. On a device, ssh-keygen -lf device.key prints the fingerprint of its
    key. fedaffect fleet rotate --certificate wants the authority's key back for a moment.
    """
    from fedaffect.server.fleet.setup.device_certificates import DeviceCertificates
    from fedaffect.server.fleet.setup.folder import FleetFolder
    from fedaffect.server.registry import Registry, devices

    folder = FleetFolder.open(fleet_path)
    with Registry.open(folder.settings.registry) as registry:
        listed = [device for device in devices.every(registry) if device.status == "enrolled" and device.public_key]
        for device in listed:
            click.echo(f"{device.name}, number {device.partition}, {_fingerprint(device.public_key)}", err=as_json)
        if not yes:
            click.confirm(f"Do you know these {len(listed)} devices by their keys?", abort=True, err=as_json)
        DeviceCertificates(folder.authority, registry).lay_ready(listed, key_path, days)
    certified = [{"id": d.id, "name": d.name, "key": _fingerprint(d.public_key)} for d in listed]
    words = f"{len(listed)} devices are certified for {days:g} days"
    say(as_json, {"days": days, "devices": certified}, words)


def _fingerprint(public_key: str) -> str:
    """Of a key in OpenSSH's form, as its tools print it."""
    digest = hashlib.sha256(b64decode(public_key.split()[1])).digest()
    return "SHA256:" + b64encode(digest).decode().rstrip("=")
