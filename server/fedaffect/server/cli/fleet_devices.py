"""`fedaffect fleet token`, `revoke` and `rollout`: what the operator does about devices."""

from __future__ import annotations

from pathlib import Path

import click

from fedaffect.server.cli.fleet_option import fleet_option
from fedaffect.server.fleet.api.operator_client import Operator
from fedaffect.server.fleet.setup.folder import FleetFolder


@click.command()
@fleet_option
@click.option("--hours", default=24.0, show_default=True, help="How long it lets a device in.")
@click.option("--note", default="", help="Whom it is for.")
def token(fleet_path: Path | None, hours: float, note: str) -> None:
    """Print a token that lets one device in, once."""
    with Operator.of(FleetFolder.open(fleet_path)) as operator:
        answer = operator.post("/v1/tokens", {"hours": hours, "note": note})
    click.echo(answer["token"])


@click.command()
@click.argument("device")
@fleet_option
@click.option("--reason", default="the operator revoked it", show_default=True)
def revoke(device: str, fleet_path: Path | None, reason: str) -> None:
    """Keep DEVICE, an id or a name, out from now on: nothing it sends counts any more."""
    with Operator.of(FleetFolder.open(fleet_path)) as operator:
        answer = operator.post(f"/v1/devices/{device}/revoke", {"reason": reason})
    click.echo(f"device {answer['name']} ({answer['device_id']}) is revoked")


@click.command()
@click.argument("version", default="")
@fleet_option
@click.option("--percent", default=100.0, show_default=True, help="Of devices; always the same ones, more as it grows.")
@click.option("--tolerance", default=0.02, show_default=True, help="By how much devices may find it worse.")
@click.option("--min-examples", default=20, show_default=True, help="Reported before anything is decided.")
@click.option("--back", is_flag=True, help="Take the staged bundle back.")
def rollout(
    version: str, fleet_path: Path | None, percent: float, tolerance: float, min_examples: int, back: bool
) -> None:
    """Give devices bundle VERSION; it is taken back by itself where they find it worse on their own examples.

    \b
      fedaffect fleet rollout edge-8f3a1c --percent 10
      fedaffect fleet rollout edge-8f3a1c --percent 100
      fedaffect fleet rollout --back
    """  # noqa: D301
    said = {"version": version, "percent": percent, "tolerance": tolerance, "min_examples": min_examples, "back": back}
    with Operator.of(FleetFolder.open(fleet_path)) as operator:
        answer = operator.post("/v1/rollouts", said)
    click.echo(f"bundle {answer['version']} is {answer['state']} at {answer['percent']:g} % of devices")
