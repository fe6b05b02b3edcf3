"""`fedaffect support-bundle`: what a maintainer needs, in one archive."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.server.cli.fleet_option import fleet_option
from fedaffect.server.cli.registry_option import registry_option


@click.command("support-bundle")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: support-TIME.tar.gz]")
@fleet_option
@registry_option
@json_option
def support_bundle(out: Path | None, fleet_path: Path | None, registry_url: str | None, as_json: bool) -> None:
    """Collect versions, settings, the doctor's findings, counts of the registry and ends of logs.

    Secrets, names of devices and people, addresses and media are not in it. Look through it all the same before you
    send it: tar -xzOf support-….tar.gz | less
    """
    from fedaffect.edge.cli.doctor import examine
    from fedaffect.edge.errors import ConfigError
    from fedaffect.server.fleet.setup.folder import FleetFolder
    from fedaffect.server.support.collecting import collect

    try:
        fleet = FleetFolder.open(fleet_path)
    except ConfigError:
        if fleet_path is not None:
            raise
        fleet = None
    url = registry_url or (fleet.settings.registry if fleet is not None else None)
    roles = ("device", "cloud", *(("fleet",) if fleet is not None else ()))
    path = out or Path(f"support-{datetime.now(UTC):%Y%m%dT%H%M%S}.tar.gz")
    files = collect(path, fleet, url, examine(roles, fleet=fleet.path if fleet is not None else None, registry=url))
    say(
        as_json,
        {"path": str(path), "files": files},
        f"{len(files)} files in {path}; look through it before you send it",
    )
