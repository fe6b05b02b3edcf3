"""`fedaffect server`: the cloud."""

from __future__ import annotations

import click

from fedaffect.edge.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "serve": ("fedaffect.server.cli.serve:serve", "Answer over gRPC and REST."),
        "align": ("fedaffect.server.cli.align:align", "Fit the cloud's adapters behind a trunk that devices learned."),
        "learn": ("fedaffect.server.cli.learn:learn", "Learn from feedback whose senders allowed it."),
        "keys": ("fedaffect.server.cli.keys:keys", "Make, list and revoke API keys."),
        "users": ("fedaffect.server.cli.users:users", "Make, list and remove accounts for the server's page."),
        "models": ("fedaffect.server.cli.models:models", "Register model versions; split traffic; roll back."),
        "bundles": ("fedaffect.server.cli.bundles:bundles", "Offer bundles to devices."),
        "registry": (
            "fedaffect.server.cli.registry:registry",
            "Back up, restore, export and prune what is remembered.",
        ),
    },
)
def server() -> None:
    """Host the full model, for samples that a device is not sure about."""
