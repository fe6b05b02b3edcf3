"""`fedaffect fleet backup` and `restore`: all that a fleet's server is, on this machine or another."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.server.cli.fleet_option import fleet_option
from fedaffect.server.cli.registry_option import registry_option


@click.command()
@click.argument("target", metavar="FOLDER", type=click.Path(path_type=Path))
@fleet_option
@click.option("--portable", is_flag=True, help="The registry as JSON lines, which SQLite and PostgreSQL both take.")
@json_option
def backup(target: Path, fleet_path: Path | None, portable: bool, as_json: bool) -> None:
    """Copy the fleet into the new folder FOLDER, while it works.

    Registry, authority, certificate, operator's token, settings, runs with their checkpoints, bundles, and the key that
    signs them: whoever has it is the fleet.
    """
    from fedaffect.server.fleet.setup import folder_backup
    from fedaffect.server.fleet.setup.folder import FleetFolder

    made = folder_backup.make(FleetFolder.open(fleet_path), target, as_portable=portable)
    facts = {"path": str(target), "form": made.form, "head": made.head, "rows": sum(made.rows.values())}
    say(as_json, facts, f"the fleet lies in {target}, its private keys too: keep it where only you can read it")


@click.command()
@click.argument("source", metavar="FOLDER", type=click.Path(exists=True, file_okay=False, path_type=Path))
@fleet_option
@registry_option
@json_option
def restore(source: Path, fleet_path: Path | None, registry_url: str | None, as_json: bool) -> None:
    """Put the backup FOLDER into the new fleet's folder --fleet; devices and open runs go on with it.

    Stop the old server first. Devices find the new one by the same name or address.
    """
    from fedaffect.server.fleet.setup import folder_backup
    from fedaffect.server.fleet.setup.folder import FleetFolder

    fleet = folder_backup.restore(source, fleet_path or FleetFolder.default(), registry_url)
    next_step = f"fedaffect fleet up --fleet {shlex.quote(str(fleet.path))}"
    say(as_json, {"path": str(fleet.path)}, f"fleet {fleet.settings.name} lies in {fleet.path}", f"next: {next_step}")
