"""`fedaffect device`: this machine as a device of a fleet."""

from __future__ import annotations

import click

from fedaffect.edge.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "enroll": ("fedaffect.client.cli.device_enroll:enroll", "Join a fleet; the key is made here and stays here."),
        "start": ("fedaffect.client.cli.device_start:start", "Learn with the fleet until interrupted."),
        "status": ("fedaffect.client.cli.device_status:status", "What it holds, shares, may spend, and runs."),
        "consent": ("fedaffect.client.cli.device_enroll:consent", "Give or take back consent to learning."),
        "budget": ("fedaffect.client.cli.device_budget:budget", "What it has spent of its privacy, and may spend."),
        "rotate": ("fedaffect.client.cli.device_rotate:rotate", "A new key; the device stays in the fleet."),
        "revoke": ("fedaffect.client.cli.device_enroll:revoke", "Leave the fleet; the key is destroyed."),
    },
)
def device() -> None:
    """Let this device learn with a fleet, from what its user labelled and agreed to.

    \b
      fedaffect device enroll --server https://fleet.example:9441 --ca ca.pem --token fe_… --consent
      fedaffect device start
    """  # noqa: D301
