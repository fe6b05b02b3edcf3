"""`fedaffect device enroll`, `consent` and `revoke`: joining a fleet and leaving it."""

from __future__ import annotations

import platform
import shlex
from pathlib import Path

import click

from fedaffect.client.cli.device_option import device_option, opened
from fedaffect.edge.cli.facts import json_option, say

# As `fedaffect.edge.sample.MODALITIES`, which imports NumPy.
MODALITIES = ("text", "audio", "video")


@click.command()
@device_option
@click.option("--server", required=True, help="https://HOST:PORT of the fleet's service.")
@click.option("--token", required=True, envvar="FEDAFFECT_ENROLMENT_TOKEN", help="From the operator.")
@click.option(
    "--ca",
    "authority",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The fleet's ca.pem, from the operator.",
)
@click.option("--name", default=platform.node, help="Name of this device in the fleet.  [default: the host's name]")
@click.option("--consent/--no-consent", default=False, help="Whether its user agrees to learning.  [default: no]")
@click.option(
    "--modality",
    "modalities",
    multiple=True,
    type=click.Choice(MODALITIES),
    help="What it records; may be given several times.  [default: all]",
)
@click.option("--min-examples", default=8, show_default=True, help="It refuses rounds with fewer.")
@click.option("--quiet-hours", default="", help="HH:MM-HH:MM in which it refuses rounds, such as 22:00-07:00.")
@click.option("--only-charging", is_flag=True, help="It refuses rounds while on battery.")
@click.option("--only-unmetered", is_flag=True, help="It refuses rounds on a metered network.")
@click.option("--busy-load", default=0.0, help="It refuses rounds above this load per core; 0 ignores the load.")
@click.option("--store", default="", help="Its example store.  [default: the edge runtime's]")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "torch", "onnx"]),
    help="What it learns with: torch, or its bundle's training step; auto takes torch where it is installed.",
)
@click.option("--partition", default=-1, help="Learn this partition of the server's cohort instead: for benchmarks.")
@json_option
def enroll(
    device_path: Path | None,
    server: str,
    token: str,
    authority: Path,
    name: str,
    consent: bool,
    modalities: tuple[str, ...],
    min_examples: int,
    quiet_hours: str,
    only_charging: bool,
    only_unmetered: bool,
    busy_load: float,
    store: str,
    engine: str,
    partition: int,
    as_json: bool,
) -> None:
    """Join a fleet: this device makes its key, and the fleet gets the public half."""
    from fedaffect.client.device.enrolling import Capabilities
    from fedaffect.client.device.enrolling import enroll as join
    from fedaffect.client.device.folder import DeviceFolder
    from fedaffect.client.device.permission import LearningRules

    folder = DeviceFolder((device_path or DeviceFolder.default()).absolute())
    settings = join(
        folder,
        server=server,
        token=token,
        authority=authority,
        name=name,
        consent=consent,
        capabilities=Capabilities.here(modalities or MODALITIES),
        rules=LearningRules(
            min_examples=min_examples,
            quiet_hours=quiet_hours,
            only_charging=only_charging,
            only_unmetered=only_unmetered,
            busy_load=busy_load,
        ),
        partition=partition,
        store=store,
        engine=engine,
    )
    waits = "it waits until the operator approves it: fedaffect fleet devices approve; device start waits too"
    named = f" --device {shlex.quote(str(folder.path))}" if folder.path != DeviceFolder.default().absolute() else ""
    say(
        as_json,
        {"id": settings.id, "name": settings.name, "folder": str(folder.path), "waiting": settings.waiting},
        f"{settings.name} is device {settings.id} of the fleet; its key stays in {folder.key_path}",
        *([waits] if settings.waiting else []),
        f"next: fedaffect device start{named}",
        *([] if consent else ["it will not learn before its user agrees: fedaffect device consent --yes"]),
    )


@click.command()
@device_option
@click.option("--yes/--no", "agrees", required=True, help="Whether this device may learn from its examples.")
def consent(device_path: Path | None, agrees: bool) -> None:
    """Give or take back consent; it applies from the next message on."""
    settings = opened(device_path).change(consent=agrees)
    click.echo(f"{settings.name} {'may learn' if agrees else 'no longer learns'}")


@click.command()
@device_option
@click.option("--reason", default="its user left", show_default=True)
def revoke(device_path: Path | None, reason: str) -> None:
    """Leave the fleet: the server keeps this device out from now on, and its key is destroyed here.

    Bundles that the fleet signed are no longer believed; fedaffect bundle trust believes one again.
    """
    from fedaffect.client.device.enrolling import leave
    from fedaffect.client.device.folder import DeviceFolder

    folder = DeviceFolder.open(device_path)
    name = folder.settings.name
    leave(folder, reason=reason)
    click.echo(f"{name} has left the fleet")
