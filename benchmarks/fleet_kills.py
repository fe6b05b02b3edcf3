"""Kills at random instants over one run of a real fleet, and a replay of every finished round from the ledger.

    python -m benchmarks.fleet_kills --kills 100 --devices 3

Killed (SIGKILL) are the ServerApp, the SuperLink, the aggregator service, SuperNodes and trainers. The run goes on
until all kills are done and its rounds are over. Then every round that the registry has committed is computed again,
from the arrays before it and the devices that the ledger says answered; the arrays must be equal, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flwr.app import Message

from benchmarks.constructed_cohort import constructed_cohort
from benchmarks.direct_grid import DirectGrid
from benchmarks.small_fleet import SmallFleet
from server.aggregation import RoundReplies
from server.federation import run_federation
from server.fleet.folder import FleetFolder
from server.observer import RoundRecord
from server.registry import Registry, audit, participations, rounds
from server.run_config import RunConfig
from server.run_folder import RunFolder
from server.transport import Nodes

_KILLED = {
    "ServerApp": "flwr-serverapp",
    "SuperLink": "server.fleet.superlink",
    "service": "server.fleet.serving",
    "SuperNode": "client.device.supernode",
    "trainer": "client.device.resident",
}
_SMALL = {"width": 16, "heads": 2, "feedforward": 32}


class Ledger:
    """A round keeper that asks exactly those devices whose updates the registry counted."""

    def __init__(self, nodes: Nodes, answered: Mapping[int, Sequence[int]]) -> None:
        self.nodes = nodes
        self.arrays: dict[int, str] = {}
        self._answered = answered
        self._number = 0

    def gather(self) -> Sequence[int]:
        """Who answered in the round that comes next."""
        return self._answered[self._number + 1]

    def begin(self, number: int, clients: Sequence[int], base: str) -> Mapping[str, str | int]:
        """Nothing to tell."""
        self._number = number
        return {}

    def admit(self, reply: Message, client: int) -> str | None:
        """Everything counts."""
        return None

    def settle(self, clients: Sequence[int], received: RoundReplies) -> None:
        """Nothing is open."""

    def commit(self, record: RoundRecord, arrays_sha256: str) -> None:
        """Note what the round gave."""
        self.arrays[record.round] = arrays_sha256

    def abandon(self, number: int, why: str) -> None:
        """Never happens in a replay."""


def replay(folder: Path, cohort: Path, config: RunConfig, answered: Mapping[int, Sequence[int]]) -> dict[int, str]:
    """Hashes of the arrays that each round must have given."""
    grid = DirectGrid(max(max(clients, default=0) for clients in answered.values()) + 1)
    again = replace(config, out=folder, name="replayed", rounds=len(answered), engine="flower")
    ledger = Ledger(Nodes.find(grid, len(grid.nodes)), answered)
    run_federation(grid, again, cohort, RunFolder.create(again), keeper=ledger)
    return ledger.arrays


def main() -> None:
    """Kill, wait, replay, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--devices", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=0, help="of the run; as many as kills if not given")
    parser.add_argument("--pause-s", type=float, default=6.0, help="longest pause between two kills")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fleet-kills-") as temporary:
        folder = Path(temporary)
        cohort = constructed_cohort(
            folder / "cohort", clients=given.devices, examples=(8, 16), tokens={"text": 2, "audio": 2}, width=12
        )
        with SmallFleet(folder / "at-work", cohort) as fleet:
            partitions = {}
            for k in range(given.devices):
                fleet.enroll(f"device{k}", k)
                fleet.start(f"device{k}")
                partitions[f"device{k}"] = k
            fleet.online(given.devices)
            rounds_wanted = given.rounds or given.kills
            fleet.submit("kills", rounds_wanted, model_options=_SMALL, lr=0.01, round_timeout_s=120.0, gather_s=5.0)
            fleet.wait_for(lambda: bool(fleet.rounds("kills")), "the first round")
            killed = _kill_at_random(fleet, rng, given.kills, given.pause_s)
            fleet.wait("kills", timeout_s=24 * 3600)
            said = _judge(fleet, folder, cohort, partitions)
    print(json.dumps({"killed": dict(killed), **said, "minutes": round((time.monotonic() - began) / 60, 1)}))


def _kill_at_random(fleet: SmallFleet, rng: random.Random, kills: int, pause_s: float) -> Counter[str]:
    killed: Counter[str] = Counter()
    while sum(killed.values()) < kills:
        time.sleep(rng.uniform(0.2, pause_s))
        what = rng.choice(sorted(_KILLED))
        found = fleet.processes(_KILLED[what])
        if found and fleet.kill_one(rng.choice(found)):
            killed[what] += 1
        if fleet.over("kills"):
            break
    return killed


def _judge(fleet: SmallFleet, folder: Path, cohort: Path, partitions: Mapping[str, int]) -> dict[str, Any]:
    """Whether each round was committed once, to the arrays that the ledger gives."""
    with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
        attempts = rounds.of_run(registry, "kills")
        committed = [attempt for attempt in attempts if attempt.state == "committed"]
        names = {device["id"]: device["name"] for device in fleet.status()["devices"]}
        answered = {
            r.round: sorted(
                partitions[names[p.slot.device_id]]
                for p in participations.of_round(registry, "kills", r.round, r.attempt)
                if p.state == "answered"
            )
            for r in committed
        }
        verified = audit.verify(registry)
    config = RunFolder.open(fleet.path / "runs" / "kills").config
    again = replay(folder, cohort, config, answered)
    return {
        "rounds": len(committed),
        "in_order_and_once": [r.round for r in committed] == list(range(1, len(committed) + 1)),
        "attempts": len(attempts),
        "flower_runs": len(fleet.run_state("kills")["flower_runs"]),
        "equal_to_replay": all(again[r.round] == r.arrays_sha256 for r in committed),
        "audit_entries": verified.entries,
    }


if __name__ == "__main__":
    main()
