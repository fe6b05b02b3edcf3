"""Kills at random instants over one run of a real fleet, and a replay of every finished round from the ledger.

    python -m benchmarks.fleet_kills --kills 100 --devices 3
    python -m benchmarks.fleet_kills --kills 100 --devices 3 --dp

Killed (SIGKILL) are the ServerApp, the SuperLink, the aggregator service, SuperNodes, trainers, whole devices, the
whole server and the registry's database, a PostgreSQL of this run's own where the machine has one. The run goes on
until all kills are done and its rounds are over. Then every round that the registry has committed is computed again,
from the arrays before it and the devices that the ledger says answered; the arrays must be equal, bit for bit.

With ``--dp`` devices add noise of their own. It cannot be drawn again, so the replay sends what the devices' ledgers
kept. What was recorded is compared with what each device really computed, which its trainer writes down step by step;
the first device's budget is too small for the whole run. More of the kills then fall into training on purpose: after
the charge, and before there is an answer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.constructed_cohort import constructed_cohort
from tests.support.own_postgresql import NoPostgresql, OwnPostgresql
from tests.support.replaying import replay
from tests.support.small_fleet import SmallFleet

from benchmarks.killing import Killing
from benchmarks.noise_trace.sitecustomize import TRACE
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.spending import ledger_of
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, RegistryUnavailable, audit, participations, rounds, runs

_RUN = "kills"
_SMALL = {"width": 16, "heads": 2, "feedforward": 32}
# A device that is killed over a message answers it never.
_TIMING = {"round_timeout_s": 20.0, "gather_s": 5.0}
_EPSILON, _SMALL_BUDGET = 4.0, 2.5
# Training long enough that kills fall into it, after the charge and before the answer.
_PRIVATE = {"dp": "local", "epsilon": _EPSILON, "batch_size": 4, "local_epochs": 60}
_TRACING = Path(__file__).with_name("noise_trace")


def main() -> None:
    """Kill, wait, replay, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=0, help="of the run; as many as kills if not given")
    parser.add_argument("--pause-s", type=float, default=8.0, help="longest pause between two kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dp", action="store_true", help="noise on the devices")
    parser.add_argument("--keep", type=Path, help="folder for all that the fleet leaves behind")
    given = parser.parse_args()
    # What was started is stopped, also where this is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-kills-")))
        said = _measure(given, folder, _database(stack))
    load = round(os.getloadavg()[0], 1)
    print(json.dumps({**said, "minutes": round((time.monotonic() - began) / 60, 1), "load": load}))


def _database(stack: contextlib.ExitStack) -> OwnPostgresql | None:
    try:
        return stack.enter_context(OwnPostgresql())
    except NoPostgresql as error:
        print(f"{error}; the registry is SQLite, and no database is killed", file=sys.stderr)
        return None


def _measure(given: argparse.Namespace, folder: Path, database: OwnPostgresql | None) -> dict[str, Any]:
    cohort = constructed_cohort(
        folder / "cohort", clients=given.devices, examples=(8, 16), tokens={"text": 2, "audio": 2}, width=12
    )
    names = [f"device{k}" for k in range(given.devices)]
    tracing = {"PYTHONPATH": f"{_TRACING}:{os.environ.get('PYTHONPATH', '')}"} if given.dp else {}
    with SmallFleet(folder / "at-work", cohort, database.url if database else "", tracing) as fleet:
        for k, name in enumerate(names):
            fleet.enroll(name, k)
            if given.dp and k == 0:
                fleet.command(
                    "device", "budget", "--device", str(folder / "at-work" / name), "--epsilon", str(_SMALL_BUDGET)
                )
            fleet.start(name)
        fleet.online(given.devices)
        private = _PRIVATE if given.dp else {}
        fleet.submit(_RUN, given.rounds or given.kills, model_options=_SMALL, lr=0.01, **_TIMING, **private)
        fleet.wait_for(lambda: bool(fleet.rounds(_RUN)), "the first round")
        killing = Killing(fleet, names, database, random.Random(given.seed), TRACE if given.dp else "")
        with Registry.connect(FleetFolder.open(fleet.path).settings.registry) as registry:
            began = time.monotonic()
            killing.at_random(given.kills, given.pause_s, lambda: _over(registry))
            after = {"minutes_of_kills": round((time.monotonic() - began) / 60, 1), "rounds_by_then": _done(registry)}
            while not _over(registry):
                time.sleep(1)
            folders = {name: fleet.folder / name for name in names}
            judged = _judge(fleet, registry, folder, cohort, list(folders.values()), given.dp)
            if given.dp:
                from benchmarks.spent_privacy import spent

                judged["privacy"] = spent(registry, folders)
    kills = {"kills": sum(killing.killed.values()), "killed": dict(killing.killed)}
    return {**kills, "longest_outage_of_database_s": round(killing.longest_outage_s), **after, **judged}


def _over(registry: Registry) -> bool:
    """Whether the run is over, as far as the database can be asked now."""
    try:
        return runs.get(registry, _RUN).state != "open"
    except RegistryUnavailable:
        return False


def _done(registry: Registry) -> int:
    last = rounds.last_committed(registry, _RUN)
    return last.round if last else 0


def _judge(
    fleet: SmallFleet, registry: Registry, folder: Path, cohort: Path, devices: list[Path], private: bool
) -> dict[str, Any]:
    """Whether each round was committed once, to the arrays that the ledger gives."""
    attempts = rounds.of_run(registry, _RUN)
    committed = [attempt for attempt in attempts if attempt.state == "committed"]
    partition = {DeviceFolder(path).settings.id: DeviceFolder(path).settings.partition for path in devices}
    outcomes: Counter[str] = Counter()
    answered: dict[int, list[int]] = {}
    for r in committed:
        took_part = participations.of_round(registry, _RUN, r.round, r.attempt)
        outcomes.update(p.state for p in took_part)
        answered[r.round] = sorted(partition[p.slot.device_id] for p in took_part if p.state == "answered")
    config = RunFolder.open(fleet.path / "runs" / _RUN).config
    stored = dict(enumerate(devices)) if private else None
    charges = _charges(devices) if private else []
    again = replay(folder, cohort, config, answered, stored)
    actions = Counter(entry.action for entry in audit.entries(registry))
    return {
        "state": runs.get(registry, _RUN).state,
        "reason": runs.get(registry, _RUN).reason,
        "rounds": len(committed),
        "in_order_and_once": [r.round for r in committed] == list(range(1, config.federation.rounds + 1)),
        "attempts": len(attempts),
        "flower_runs": len(runs.get(registry, _RUN).flower_runs),
        "updates": dict(outcomes),
        "equal_to_replay": all(again[r.round] == r.arrays_sha256 for r in committed),
        **(
            {"all_answers_kept": charges == [len(ledger_of(DeviceFolder(p)).charges()) for p in devices]}
            if private
            else {}
        ),
        "audit": {name: actions[name] for name in ("registry.was-away", "round.abandoned", "update.refused")},
        "audit_entries": audit.verify(registry).entries,
    }


def _charges(devices: list[Path]) -> list[int]:
    return [len(ledger_of(DeviceFolder(path)).charges()) for path in devices]


if __name__ == "__main__":
    main()
