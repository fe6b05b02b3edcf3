"""`fedaffect fleet status`: devices, rounds, budget, versions."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext, suppress
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Final

import click

from fedaffect.edge.cli.facts import json_option, say
from fedaffect.server.cli.fleet_option import fleet_option, operator_of

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from fedaffect.server.fleet.api.operator_client import Operator

# In tables; JSON has them all.
_MOST_DEVICES: Final = 50


@click.command()
@fleet_option
@click.option("--watch", is_flag=True, help="Show it again and again until interrupted; with --json a line each time.")
@click.option("--every", "every_s", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="Seconds.")
@json_option
def status(fleet_path: Path | None, watch: bool, every_s: float, as_json: bool) -> None:
    """Show devices, runs with their rounds, privacy budget and versions."""
    with operator_of(fleet_path) as operator:
        if watch:
            with suppress(KeyboardInterrupt):
                _watch(operator, fleet_path, every_s, as_json)
            return
        found = _asked(operator, fleet_path)
    if as_json:
        say(as_json, found)
        return
    from fedaffect.edge.cli.output import stdout

    stdout().print(_shown(found), soft_wrap=True)


def _asked(operator: Operator, fleet_path: Path | None) -> dict[str, Any]:
    """The status, and what this fleet is in its root's."""
    from fedaffect.server.fleet.regions.joining import region_state
    from fedaffect.server.fleet.setup.folder import FleetFolder

    return {**operator.post("/v1/status"), "region": region_state(FleetFolder.open(fleet_path))}


def _watch(operator: Operator, fleet_path: Path | None, every_s: float, as_json: bool) -> None:
    """The status until interrupted; while the service is away, what it said last and that it is away."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from fedaffect.edge.cli.output import stdout
    from fedaffect.server.fleet.errors import FleetError

    shown: Group = Group()
    with nullcontext() if as_json else Live(shown, console=stdout(), auto_refresh=False) as live:
        while True:
            try:
                found = _asked(operator, fleet_path)
                if live is None:
                    click.echo(json.dumps(found, ensure_ascii=False))
                else:
                    shown = _shown(found)
                    live.update(shown, refresh=True)
            except FleetError as error:
                if live is None:
                    click.echo(str(error), err=True)
                else:
                    live.update(Group(shown, Text(f"{error}; waiting for it", style="yellow")), refresh=True)
            sleep(every_s)


def _shown(found: dict[str, Any]) -> Group:
    from rich.console import Group
    from rich.text import Text

    driver = found["driver"] or {}
    wrong = {"runs": driver["problem"]} if driver.get("problem") else driver.get("failures", {})
    return Group(
        *_region(found.get("region")),
        *([_regions(regions)] if (regions := [d for d in found["devices"] if d["region"] is not None]) else []),
        *([_devices(alone)] if (alone := [d for d in found["devices"] if d["region"] is None]) or not regions else []),
        _runs(found["runs"]),
        *(Text(f"{subject}: {why}", style="yellow") for subject, why in wrong.items()),
        *([_bundles(found["bundles"], found["rollouts"], found["models"])] if found["bundles"] else []),
    )


def _state(device: dict[str, Any]) -> str:
    if device["status"] != "enrolled":
        return str(device["status"])
    return "online" if device["online"] else "offline"


def _region(region: dict[str, Any] | None) -> list[Text]:
    """What this fleet is in its root's."""
    from rich.text import Text

    if region is None:
        return []
    words = f"region {region['name']} of {region['root']} {region['state']}"
    return [Text(f"{words}; {region['answered']} orders answered, {region['failed']} failed")]


def _regions(regions: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("region", "id", "state", "group", "devices", "of them online", title="Regions")
    for one in regions:
        said = one["region"]
        devices, online = str(said.get("devices", "")), str(said.get("online", ""))
        table.add_row(one["name"], one["id"], _state(one), one["group"], devices, online)
    return table


def _devices(devices: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    states = Counter(map(_state, devices))
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    title = f"Devices: {counted}" if devices else "Devices"
    columns = ("device", "id", "state", "group", "modalities", "memory", "cores", "consent", "ε so far")
    more = len(devices) - _MOST_DEVICES
    caption = f"and {more} more: fedaffect fleet devices list" if more > 0 else None
    table = Table(*columns, title=title, caption=caption)
    for device in devices[:_MOST_DEVICES]:
        table.add_row(
            device["name"],
            device["id"],
            _state(device),
            device["group"],
            " ".join(device["modalities"]),
            f"{device['memory_mb']} MB",
            str(device["cores"]),
            "yes" if device["consent"] else "no",
            _epsilon(device["epsilon"]),
        )
    return table


def _runs(runs: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("run", "state", "rounds", "attempts", "last round", "newest round's devices", "why", title="Runs")
    for run in runs:
        table.add_row(
            run["id"],
            run["state"],
            f"{run['committed']} of {run['rounds']}",
            str(run["attempts"]),
            "" if run["seconds"] is None else f"{run['seconds']:.1f} s",
            ", ".join(f"{count} {state}" for state, count in sorted(run["newest"].items())),
            run["reason"] or "; ".join(f"{count} × {reason}" for reason, count in run["reasons"].items()),
        )
    return table


def _bundles(bundles: list[dict[str, Any]], rollouts: list[dict[str, Any]], models: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(
        "bundle", "made by", "ε", "guard", "offered to all", "rollout", "devices' figure", "why", title="Bundles"
    )
    made = {model["version"]: model for model in models}
    newest = {rollout["version"]: rollout for rollout in reversed(rollouts)}
    for bundle in bundles:
        rollout = newest.get(bundle["version"], {})
        change = rollout.get("change")
        table.add_row(
            bundle["version"],
            made.get(bundle["version"], {}).get("run") or "",
            _epsilon(made.get(bundle["version"], {}).get("epsilon")),
            _guarded(made.get(bundle["version"], {}).get("guard", {})),
            "yes" if bundle["offered"] else "no",
            f"{rollout['state']} at {rollout['percent']:g} %" if rollout else "",
            "" if change is None else _judged(rollout),
            rollout.get("reason", ""),
        )
    return table


def _guarded(guard: dict[str, list[float]]) -> str:
    """``ravdess 0.714 to 0.709``: UAR of people whom nobody learned from, before the run and after."""
    return ", ".join(f"{name} {before:.3f} to {after:.3f}" for name, (before, after) in guard.items())


def _judged(rollout: dict[str, Any]) -> str:
    """``+0.100 from 3 devices: 2 better, 0 worse, 1 the same``."""
    same = rollout["reports"] - rollout["better"] - rollout["worse"]
    said = f"{rollout['better']} better, {rollout['worse']} worse, {same} the same"
    return f"{rollout['change']:+.3f} from {rollout['reports']} devices: {said}"


def _epsilon(epsilon: float | None) -> str:
    return "" if epsilon is None else f"{epsilon:.2f}"
