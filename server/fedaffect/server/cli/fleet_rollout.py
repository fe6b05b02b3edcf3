"""`fedaffect fleet rollout`: bundles on their way to devices."""

from __future__ import annotations

from pathlib import Path

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.server.cli.fleet_option import fleet_option, operator_of


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
@json_option
def rollout(
    version: str,
    fleet_path: Path | None,
    percent: float,
    tolerance: float,
    min_examples: int,
    back: bool,
    as_json: bool,
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
    words = f"bundle {answer['version']} is {answer['state']} at {answer['percent']:g} % of devices"
    say(as_json, answer, words)
