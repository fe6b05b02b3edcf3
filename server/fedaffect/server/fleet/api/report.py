"""The report of `fedaffect fleet status`: devices, runs with their rounds, budget, versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fedaffect.server.fleet.runs.driver_state import DriverState
from fedaffect.server.registry import (
    Registry,
    bundles,
    devices,
    leases,
    models,
    participations,
    privacy,
    rollouts,
    rounds,
    runs,
)

# Of the newest round; the most frequent ones.
_REASONS = 5


def fleet_status(
    registry: Registry, nodes: Mapping[int, str] | None, driver: DriverState | None = None
) -> dict[str, Any]:
    """Everything as JSON values.

    Parameters
    ----------
    registry : Registry
    nodes : mapping of int to str, optional
        Flower's state of each node; None where the SuperLink does not answer.
    driver : DriverState, optional
        Of the driver of runs, where there is one.
    """
    return {
        "superlink": "does not answer" if nodes is None else "answers",
        "driver": None if driver is None else {**asdict(driver), "problem": driver.problem},
        "devices": _devices(registry, nodes or {}),
        "runs": [run_facts(registry, run) for run in runs.every(registry)],
        "models": [
            {
                "version": m.version,
                "run": m.run_id,
                "round": m.round,
                "epsilon": m.epsilon,
                "guard": m.lineage.get("guard", {}),
            }
            for m in models.every(registry)
        ],
        "bundles": [
            {"version": b.version, "offered": b.offered.isoformat() if b.offered else None}
            for b in bundles.every(registry)
        ],
        "rollouts": [
            {
                "version": r.bundle_version,
                "state": r.state,
                "percent": r.percent,
                "reports": r.reports,
                "better": r.better,
                "worse": r.worse,
                "change": r.change,
                "noise": r.noise,
                "reason": r.reason,
            }
            for r in rollouts.every(registry)
        ],
    }


def _devices(registry: Registry, nodes: Mapping[int, str]) -> list[dict[str, Any]]:
    spent = privacy.spent_by_devices(registry)
    return [
        {
            **device_facts(device),
            "online": nodes.get(device.node_id or -1) == "online",
            "epsilon": spent.get(device.id),
        }
        for device in devices.every(registry)
    ]


def device_facts(device: devices.Device) -> dict[str, Any]:
    """What the registry knows of a device, as JSON values."""
    return {
        "id": device.id,
        "name": device.name,
        "status": device.status,
        "group": device.group,
        "labels": list(device.labels),
        "number": device.partition,
        "consent": device.consent,
        "modalities": list(device.capabilities.modalities),
        "memory_mb": device.capabilities.memory_mb,
        "cores": device.capabilities.cores,
        "enrolled": device.enrolled.isoformat(),
        "last_seen": device.last_seen.isoformat() if device.last_seen else None,
        "region": None if device.region is None else dict(device.region),
    }


def run_facts(registry: Registry, run: runs.Run) -> dict[str, Any]:
    """What the registry knows of a run, as JSON values."""
    attempts = rounds.of_run(registry, run.id)
    committed = [r for r in attempts if r.state == "committed"]
    newest = attempts[-1] if attempts else None
    outcome: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    if newest is not None:
        for taken in participations.of_round(registry, run.id, newest.round, newest.attempt):
            outcome[taken.state] += 1
            if taken.reason:
                reasons[taken.reason] += 1
    lease = leases.current(registry, run.id)
    return {
        "id": run.id,
        "state": run.state,
        "reason": run.reason,
        "rounds": int(run.config.get("rounds", 0)),
        "committed": len(committed),
        "attempts": len(attempts),
        "newest": dict(outcome),
        "reasons": dict(reasons.most_common(_REASONS)),
        "seconds": _last_seconds(committed),
        "driver": lease.owner if lease else None,
        "flower_runs": [str(number) for number in run.flower_runs],
        "privacy": dict(run.privacy),
    }


def states_of_runs(registry: Registry) -> dict[str, Any]:
    """How far each run is, for regions that have a part in it."""
    found = {}
    for run in runs.every(registry):
        last = rounds.last_committed(registry, run.id)
        found[run.id] = {"state": run.state, "committed": last.round if last else 0}
    return found


def _last_seconds(committed: list[rounds.Round]) -> float | None:
    if not committed or committed[-1].finished is None:
        return None
    return round((committed[-1].finished - committed[-1].started).total_seconds(), 2)
