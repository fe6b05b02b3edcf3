"""`fedaffect fleet devices` and `revoke`: which there are, which may take part, and how they are grouped."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.edge.errors import ConfigError
from fedaffect.server.cli.fleet_option import fleet_option, operator_of

if TYPE_CHECKING:
    from rich.table import Table


@click.group()
def devices() -> None:
    """Show devices, approve those that wait, put them into groups, and label them.

    \b
      fedaffect fleet devices list --waiting
      fedaffect fleet devices approve --all
      fedaffect fleet devices group ward-3 phone watch
      fedaffect fleet run --group ward-3
    """  # noqa: D301


@devices.command("list")
@fleet_option
@click.option("--waiting", "status", flag_value="waiting", help="Only those that wait for approval.")
@click.option("--revoked", "status", flag_value="revoked", help="Only those that were revoked.")
@click.option("--group", help="Only those of this group; '' for those in none.")
@click.option("--label", help="Only those with this label.")
@json_option
def list_(fleet_path: Path | None, status: str | None, group: str | None, label: str | None, as_json: bool) -> None:
    """Show devices with their groups and labels."""
    with operator_of(fleet_path) as operator:
        answer = operator.post("/v1/devices/list", {"status": status, "group": group, "label": label})
    if as_json:
        say(as_json, answer)
        return
    from fedaffect.edge.cli.output import stdout

    stdout().print(_table(answer["devices"]))


def _table(found: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("device", "id", "state", "group", "labels", "consent", "last seen", title="Devices")
    for device in found:
        seen = device["last_seen"] or ""
        table.add_row(
            device["name"],
            device["id"],
            device["status"],
            device["group"],
            ", ".join(device["labels"]),
            "yes" if device["consent"] else "no",
            seen[:16].replace("T", " "),
        )
    return table


@devices.command()
@click.argument("named", nargs=-1, metavar="DEVICE...")
@fleet_option
@click.option("--all", "waiting", is_flag=True, help="All devices that wait.")
@click.option("--group", help="With --all: only those of this group.")
@json_option
def approve(named: tuple[str, ...], fleet_path: Path | None, waiting: bool, group: str | None, as_json: bool) -> None:
    """Let DEVICEs take part, ids or names, that came in by a token with --approval."""
    if group is not None and not waiting:
        raise ConfigError("--group narrows --all; name devices, or say --all --group GROUP")
    with operator_of(fleet_path) as operator:
        answer = operator.post("/v1/devices/approve", {"devices": named, "waiting": waiting, "group": group})
    say(as_json, answer, f"{_count(answer)} approved")


@devices.command("group")
@click.argument("group")
@click.argument("named", nargs=-1, required=True, metavar="DEVICE...")
@fleet_option
@json_option
def group_(group: str, named: tuple[str, ...], fleet_path: Path | None, as_json: bool) -> None:
    """Put DEVICEs, ids or names, into GROUP; '' takes them out of theirs."""
    with operator_of(fleet_path) as operator:
        answer = operator.post("/v1/devices/group", {"devices": named, "group": group})
    say(as_json, answer, f"{_count(answer)} in {f'group {group}' if group else 'no group'}")


@devices.command()
@click.argument("named", nargs=-1, required=True, metavar="DEVICE...")
@fleet_option
@click.option("--add", multiple=True, metavar="LABEL", help="Repeatable.")
@click.option("--remove", multiple=True, metavar="LABEL", help="Repeatable.")
@json_option
def label(
    named: tuple[str, ...], fleet_path: Path | None, add: tuple[str, ...], remove: tuple[str, ...], as_json: bool
) -> None:
    """Change the labels of DEVICEs, ids or names: words of your own, to find devices by."""
    if not (add or remove):
        raise ConfigError("no label is named; give --add LABEL or --remove LABEL")
    with operator_of(fleet_path) as operator:
        answer = operator.post("/v1/devices/label", {"devices": named, "add": add, "remove": remove})
    labels = Counter(label for device in answer["devices"] for label in device["labels"])
    have = ", ".join(f"{label} ({count})" for label, count in sorted(labels.items())) or "no label"
    say(as_json, answer, f"{_count(answer)} labelled: {have}")


def _count(answer: dict[str, Any]) -> str:
    count = len(answer["devices"])
    return f"{count} device{'s are' if count != 1 else ' is'}"


@click.command()
@click.argument("device")
@fleet_option
@click.option("--reason", default="the operator revoked it", show_default=True)
@json_option
def revoke(device: str, fleet_path: Path | None, reason: str, as_json: bool) -> None:
    """Keep DEVICE, an id or a name, out from now on: its updates are refused."""
    with operator_of(fleet_path) as operator:
        answer = operator.post(f"/v1/devices/{quote(device, safe='')}/revoke", {"reason": reason})
    say(as_json, answer, f"device {answer['name']} ({answer['device_id']}) is revoked")
