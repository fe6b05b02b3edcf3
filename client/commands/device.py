"""`fedaffect device`: this machine as a device of a fleet."""

from __future__ import annotations

import click

from edge_runtime.commands.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "enroll": ("client.commands.device_enroll:enroll", "Join a fleet; the key is made here and stays here."),
        "start": ("client.commands.device_start:start", "Learn with the fleet until interrupted."),
        "consent": ("client.commands.device_enroll:consent", "Give or take back consent to learning."),
        "budget": ("client.commands.device_budget:budget", "What it has spent of its privacy, and may spend."),
        "rotate": ("client.commands.device_rotate:rotate", "A new key; the device stays in the fleet."),
        "revoke": ("client.commands.device_enroll:revoke", "Leave the fleet; the key is destroyed."),
    },
)
def device() -> None:
    """Let this device learn with a fleet, from what its user labelled and agreed to.

    \b
      fedaffect device enroll --server https://fleet.example:9441 --ca ca.pem --token fe_… --consent
      fedaffect device start
    """  # noqa: D301
