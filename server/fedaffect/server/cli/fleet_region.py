"""`fedaffect fleet region`: a fleet as a region of another."""

from __future__ import annotations

from pathlib import Path

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.fleet_option import fleet_option


@click.group()
def region() -> None:
    """Put this fleet between its devices and another fleet, the root.

    The region's devices stay enrolled with it. It sums their updates and passes one sum up; the root learns who took
    part, by number, and why the others did not. The root says whom a round asks, and a plain sum over one device is
    that device's update: none over fewer than least-devices of fleet.toml (2) leaves the region.

    \b
      fedaffect fleet token --region                           with the root's operator
      fedaffect fleet region join --root https://root.example:9441 --ca root-ca.pem --token …
      fedaffect fleet up                                       again, if it was up
    """  # noqa: D301


@region.command()
@fleet_option
@click.option("--root", required=True, metavar="URL", help="https://HOST:PORT of the root's service.")
@click.option(
    "--token",
    envvar="FEDAFFECT_REGION_TOKEN",
    help="From the root's operator: fedaffect fleet token --region ($FEDAFFECT_REGION_TOKEN).",
)
@click.option(
    "--ca",
    "authority",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The root's ca.pem, from its operator too.",
)
@click.option("--name", help="Of the region, as the root shows it.  [default: the fleet's name]")
@click.option("--if-missing", is_flag=True, help="Leave a fleet that is a region already as it is.")
@json_option
def join(
    fleet_path: Path | None,
    root: str,
    token: str | None,
    authority: Path,
    name: str | None,
    if_missing: bool,
    as_json: bool,
) -> None:
    """Have this fleet enrolled as a region of the fleet at --root."""
    from fedaffect.server.fleet.regions.joining import join as join_root
    from fedaffect.server.fleet.regions.joining import region_of
    from fedaffect.server.fleet.setup.folder import FleetFolder
    from fedaffect.server.registry import Registry, audit

    fleet = FleetFolder.open(fleet_path)
    if if_missing and region_of(fleet).enrolled:
        known = region_of(fleet).settings
        if known.server != root:
            raise ConfigError(
                f"this fleet is a region of {known.server}; leave that first: fedaffect fleet region leave"
            )
        facts = {"name": known.name, "id": known.id, "root": known.server, "waiting": known.waiting}
        say(as_json, facts, f"this fleet is region {known.name} of {known.server} already")
        return
    if token is None:
        raise ConfigError("a region joins by a token of the root's operator; give --token or $FEDAFFECT_REGION_TOKEN")
    made = join_root(fleet, root=root, token=token, authority=authority, name=name or fleet.settings.name)
    with Registry.open(fleet.settings.registry) as registry:
        audit.write(registry, "region.joined", subject=made.name, actor="operator", root=made.server, id=made.id)
    waits = "; it waits until the root's operator approves it" if made.waiting else ""
    say(
        as_json,
        {"name": made.name, "id": made.id, "root": made.server, "waiting": made.waiting},
        f"this fleet is region {made.name} of {made.server}{waits}",
        "next: fedaffect fleet up, again if it was up",
    )


@region.command()
@fleet_option
@json_option
def leave(fleet_path: Path | None, as_json: bool) -> None:
    """Leave the root; this fleet's devices stay enrolled with it."""
    from fedaffect.server.fleet.regions.joining import leave_root
    from fedaffect.server.fleet.setup.folder import FleetFolder
    from fedaffect.server.registry import Registry, audit

    fleet = FleetFolder.open(fleet_path)
    with Registry.open(fleet.settings.registry) as registry:
        leave_root(fleet, registry)
        audit.write(registry, "region.left", subject=fleet.settings.name, actor="operator")
    say(as_json, {"left": True}, "this fleet is no region any more; start its fedaffect fleet up again")
