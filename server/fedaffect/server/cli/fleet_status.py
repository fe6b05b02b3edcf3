"""`fedaffect fleet status`: devices, rounds, budget, versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedaffect.server.cli.fleet_option import fleet_option, operator_of

if TYPE_CHECKING:
    from rich.table import Table


@click.command()
@fleet_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def status(fleet_path: Path | None, as_json: bool) -> None:
    """Show devices, runs with their rounds, privacy budget and versions."""
    with operator_of(fleet_path) as operator:
        found = operator.post("/v1/status")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    from rich.text import Text

    from fedaffect.edge.cli.output import stdout

    console = stdout()
    console.print(_devices(found["devices"]))
    console.print(_runs(found["runs"]))
    driver = found["driver"] or {}
    wrong = {"runs": driver["problem"]} if driver.get("problem") else driver.get("failures", {})
    for subject, why in wrong.items():
        console.print(Text(f"{subject}: {why}", style="yellow"), soft_wrap=True)
    if found["bundles"]:
        console.print(_bundles(found["bundles"], found["rollouts"], found["models"]))


def _devices(devices: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("device", "id", "state", "modalities", "memory", "cores", "consent", "ε so far", title="Devices")
    for device in devices:
        online = "online" if device["online"] else "offline"
        table.add_row(
            device["name"],
            device["id"],
            online if device["status"] == "enrolled" else device["status"],
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
