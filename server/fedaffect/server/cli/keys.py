"""`fedaffect server keys`: who may ask the cloud."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from fedaffect.server.cli.registry_option import registry_option
from fedaffect.server.scopes import SCOPES

if TYPE_CHECKING:
    from fedaffect.server.registry.api_keys import ApiKey


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; may be given several times.  [default: predict, feedback, bundles]",
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Valid for so long; for ever if not given.")
@click.option(
    "--requests-per-minute", type=click.IntRange(min=1), default=600, show_default=True, help="How often it may ask."
)
@registry_option
def create(
    name: str, scopes: tuple[str, ...], days: float | None, requests_per_minute: int, registry_url: str | None
) -> None:
    """Make a key for NAME and show it once.

    The key alone goes to standard output, so that a script can keep it.
    """
    from fedaffect.server.registry import Registry, api_keys

    expires = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    with Registry.open(registry_url) as registry:
        key, token = api_keys.create(
            registry,
            name,
            scopes or ("predict", "feedback", "bundles"),
            requests_per_minute=requests_per_minute,
            expires=expires,
        )
    click.echo(token)
    until = f"until {expires:%Y-%m-%d %H:%M} UTC" if expires else "until it is revoked"
    click.echo(
        f"key {key.id} of {key.name} may {', '.join(key.scopes)} {until}; it is shown this once, keep it", err=True
    )


@keys.command("list")
@registry_option
def list_keys(registry_url: str | None) -> None:
    """Show all keys, without their secrets."""
    from fedaffect.server.registry import Registry, api_keys

    with Registry.open(registry_url) as registry:
        found = api_keys.every(registry)
    table = Table("id", "name", "scopes", "a minute", "created", "state")
    for key in found:
        table.add_row(
            key.id,
            key.name,
            " ".join(key.scopes),
            str(key.requests_per_minute),
            f"{key.created:%Y-%m-%d %H:%M}",
            _state(key),
        )
    Console().print(table if found else "no keys yet; make one with fedaffect server keys create NAME")


@keys.command()
@click.argument("key_id", metavar="ID")
@registry_option
def revoke(key_id: str, registry_url: str | None) -> None:
    """Refuse a key from now on; running servers follow within ten seconds."""
    from fedaffect.server.registry import Registry, api_keys

    with Registry.open(registry_url) as registry:
        key = api_keys.revoke(registry, key_id)
    click.echo(f"key {key.id} of {key.name} is revoked")


def _state(key: ApiKey) -> str:
    if key.revoked is not None:
        return f"revoked {key.revoked:%Y-%m-%d %H:%M}"
    if key.expires is None:
        return "valid"
    expired = key.expires < datetime.now(UTC)
    return f"{'expired' if expired else 'valid until'} {key.expires:%Y-%m-%d %H:%M}"
