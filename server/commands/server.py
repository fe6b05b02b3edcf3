"""`fedaffect server`: the cloud."""

from __future__ import annotations

import click

from edge_runtime.commands.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "serve": ("server.commands.serve:serve", "Answer over gRPC and REST."),
        "align": ("server.commands.align:align", "Fit the cloud's adapters behind a trunk that devices learned."),
        "keys": ("server.commands.keys:keys", "Make, list and revoke API keys."),
        "models": ("server.commands.models:models", "Register model versions; split traffic; roll back."),
        "bundles": ("server.commands.bundles:bundles", "Offer bundles to devices."),
        "registry": ("server.commands.registry:registry", "Back up, restore, export and prune what is remembered."),
    },
)
def server() -> None:
    """Host the full model for what a device cannot settle."""
