"""`fedaffect fleet token`: what devices enrol with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.server.cli.fleet_option import fleet_option, operator_of

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@fleet_option
@click.option("--hours", default=24.0, show_default=True, help="Hours until the token expires.")
@click.option("--note", default="", help="Who gets it, for the audit log.")
@click.option("--count", type=click.IntRange(1, 1_000), default=1, show_default=True, help="Tokens to make.")
@click.option(
    "--uses", type=click.IntRange(1, 100_000), default=1, show_default=True, help="Devices that each lets in."
)
@click.option("--approval", is_flag=True, help="These devices wait for: fedaffect fleet devices approve.")
@click.option("--group", default="", help="Group of the devices that come in by it.")
@click.option("--region", is_flag=True, help="It lets regions in, by fedaffect fleet region join, and no device.")
@click.option("--list", "listed", is_flag=True, help="Show the tokens that were made, without their secrets.")
@click.option("--end", metavar="TOKEN", help="Let nobody else in by this token, whole or by its id.")
@json_option
def token(
    fleet_path: Path | None,
    hours: float,
    note: str,
    count: int,
    uses: int,
    approval: bool,
    group: str,
    region: bool,
    listed: bool,
    end: str | None,
    as_json: bool,
) -> None:
    """Print a token with which one device can enrol, or tokens for many, one a line.

    \b
      fedaffect fleet token                                          one device
      fedaffect fleet token --count 200 --group ward-3 > tokens.txt  one device each
      fedaffect fleet token --uses 1000 --approval --hours 720       an enrolment key for an image of many devices
      fedaffect fleet token --region --note north                    a fleet that becomes a region of this one
      fedaffect fleet token --end 3f9a0c11d2e4                       it was lost
    """  # noqa: D301
    with operator_of(fleet_path) as operator:
        if end is not None:
            answer = operator.post("/v1/tokens/end", {"token": end})
            used = f"{answer['used']} of {answer['uses']} devices came in by it"
            say(as_json, answer, f"token {answer['id']} lets nobody else in; {used}")
        elif listed:
            _show(operator.post("/v1/tokens/list"), as_json)
        else:
            asked = {"hours": hours, "note": note, "count": count, "uses": uses, "approval": approval, "group": group}
            asked["region"] = region
            answer = operator.post("/v1/tokens", asked)
            say(as_json, answer, *answer["tokens"])


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say(as_json, answer)
        return
    from fedaffect.edge.cli.output import stdout

    stdout().print(_table(answer["tokens"]))


def _table(tokens: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("token", "devices", "approval", "group", "expires", "note", title="Tokens")
    for one in tokens:
        table.add_row(
            one["id"],
            f"{one['used']} of {one['uses']}{' regions' if one['region'] else ''}",
            "needed" if one["approval"] else "",
            one["group"],
            one["expires"][:16].replace("T", " "),
            one["note"],
        )
    return table
