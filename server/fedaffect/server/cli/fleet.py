"""`fedaffect fleet`: devices that learn together."""

from __future__ import annotations

import click

from fedaffect.edge.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "init": (
            "fedaffect.server.cli.fleet_server:init",
            "Make a fleet: authority, certificate, token, settings.",
        ),
        "up": ("fedaffect.server.cli.fleet_server:up", "Run its SuperLink and its aggregator service."),
        "rotate": (
            "fedaffect.server.cli.fleet_server:rotate",
            "Renew the server's certificate or the operator's token.",
        ),
        "backup": (
            "fedaffect.server.cli.fleet_backup:backup",
            "Copy all that the fleet's server is into a folder.",
        ),
        "restore": ("fedaffect.server.cli.fleet_backup:restore", "Put a backup into a new fleet's folder."),
        "certify": (
            "fedaffect.server.cli.fleet_certify:certify",
            "Certify devices with the authority's key, kept elsewhere.",
        ),
        "token": ("fedaffect.server.cli.fleet_token:token", "Make tokens that let devices in."),
        "devices": ("fedaffect.server.cli.fleet_devices:devices", "List, approve, group and label devices."),
        "revoke": ("fedaffect.server.cli.fleet_devices:revoke", "Keep a device out."),
        "region": ("fedaffect.server.cli.fleet_region:region", "Join another fleet as a region of it."),
        "run": ("fedaffect.server.cli.fleet_run:run", "Have the fleet learn."),
        "cancel": ("fedaffect.server.cli.fleet_runs:cancel", "End a run."),
        "logs": ("fedaffect.server.cli.fleet_runs:logs", "Show what a run says of its rounds."),
        "report": ("fedaffect.server.cli.fleet_runs:report", "Say where the report of a finished run lies."),
        "rollout": ("fedaffect.server.cli.fleet_rollout:rollout", "Give devices a bundle, some of them first."),
        "status": ("fedaffect.server.cli.fleet_status:status", "Show devices, rounds, budget and versions."),
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
      fedaffect fleet run --wait
      fedaffect fleet status
    """  # noqa: D301
