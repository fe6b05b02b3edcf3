"""`fedaffect fleet token`, `revoke` and `rollout`: commands about devices."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import click

from fedaffect.server.cli.fleet_option import fleet_option, operator_of


@click.command()
@fleet_option
@click.option("--hours", default=24.0, show_default=True, help="Hours until the token expires.")
@click.option("--note", default="", help="Who gets it, for the audit log.")
def token(fleet_path: Path | None, hours: float, note: str) -> None:
    """Print a token with which one device can enrol, once."""
    with operator_of(fleet_path) as operator:
        answer = operator.post("/v1/tokens", {"hours": hours, "note": note})
    click.echo(answer["token"])


@click.command()
@click.argument("device")
@fleet_option
@click.option("--reason", default="the operator revoked it", show_default=True)
def revoke(device: str, fleet_path: Path | None, reason: str) -> None:
    """Keep DEVICE, an id or a name, out from now on: its updates are refused."""
    with operator_of(fleet_path) as operator:
        answer = operator.post(f"/v1/devices/{quote(device, safe='')}/revoke", {"reason": reason})
    click.echo(f"device {answer['name']} ({answer['device_id']}) is revoked")


@click.command()
@click.argument("version", default="")
@fleet_option
@click.option(
    "--percent",
    default=100.0,
    show_default=True,
    help="Share of devices that get it; a larger share includes the smaller one.",
)
@click.option(
    "--tolerance", default=0.02, show_default=True, help="Largest drop of the devices' metric before it is rolled back."
)
@click.option(
    "--min-examples",
    default=20,
    show_default=True,
    help="Examples that devices report on before it may be rolled back.",
)
@click.option("--back", is_flag=True, help="Roll the staged bundle back, or the one that all got last.")
def rollout(
    version: str, fleet_path: Path | None, percent: float, tolerance: float, min_examples: int, back: bool
) -> None:
    """Give devices bundle VERSION; it is rolled back if it does worse on the devices' own examples.

    \b
      fedaffect fleet rollout edge-8f3a1c --percent 10
      fedaffect fleet rollout edge-8f3a1c --percent 100
      fedaffect fleet rollout --back
    """  # noqa: D301
    request = {
        "version": version,
        "percent": percent,
        "tolerance": tolerance,
        "min_examples": min_examples,
        "back": back,
    }
    with operator_of(fleet_path) as operator:
        answer = operator.post("/v1/rollouts", request)
    click.echo(f"bundle {answer['version']} is {answer['state']} at {answer['percent']:g} % of devices")
