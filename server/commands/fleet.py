"""`fedaffect fleet`: devices that learn together."""

from __future__ import annotations

import click

from edge_runtime.commands.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "init": (
            "server.commands.fleet_server:init",
            "Make a fleet: authority, certificate, token, settings.",
        ),
        "up": ("server.commands.fleet_server:up", "Run its SuperLink and its aggregator service."),
        "rotate": ("server.commands.fleet_server:rotate", "Renew the server's certificate or the operator's token."),
        "token": ("server.commands.fleet_devices:token", "Make a token that lets one device in."),
        "revoke": ("server.commands.fleet_devices:revoke", "Keep a device out."),
        "run": ("server.commands.fleet_run:run", "Have the fleet learn."),
        "rollout": ("server.commands.fleet_devices:rollout", "Give devices a bundle, some of them first."),
        "status": ("server.commands.fleet_status:status", "Show devices, rounds, budget and versions."),
    },
)
def fleet() -> None:
    """Bring up a federation of devices, on one machine or many.

    \b
      fedaffect fleet init --host fleet.example
      fedaffect fleet up &
      fedaffect fleet token                          one for each device
      fedaffect device enroll --server https://fleet.example:9441 --ca ca.pem --token … --consent
      fedaffect device start                         on the device
      fedaffect fleet run --rounds 10 --dataset meld …
      fedaffect fleet status
    """  # noqa: D301
