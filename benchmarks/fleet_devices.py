"""A fleet of real devices gives the arrays of the simulation: TLS, node authentication, one machine.

    python -m benchmarks.fleet_devices --devices 8 --rounds 3
    python -m benchmarks.fleet_devices --devices 8 --rounds 3 \
        --dataset meld --data-dir MELD --labels meld4 --partition fedmultimodal

A corpus is prepared as ``fedaffect simulate`` does it, and the first so many of its clients (MELD's speakers, say)
become devices; without one, constructed data is learned from. Meanwhile an unregistered and a revoked device try to
take part. Every round is then computed again in one process, with the same seed and the same devices; the arrays must
be equal, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.constructed_cohort import constructed_cohort
from tests.support.replaying import replay
from tests.support.small_fleet import SmallFleet

from benchmarks.intruders import Intruders
from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.preparers import prepared_cohort
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, audit, devices, participations, rounds

_RUN = "devices"


def main() -> None:
    """Run, compare and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dataset", default="", help="corpus to learn from")
    parser.add_argument("--data-dir", type=Path, help="its folder")
    parser.add_argument("--labels", default="", help="label set, where not the corpus's own")
    parser.add_argument("--partition", default="", help="how it becomes clients, where not the corpus's own way")
    given = parser.parse_args()
    named = ("dataset", "data_dir", "labels", "partition")
    corpus = {name: str(value) for name in named if (value := getattr(given, name))}
    with tempfile.TemporaryDirectory(prefix="fleet-devices-") as temporary:
        folder = Path(temporary)
        cohort = (
            prepared_cohort(RunSettings.of({name.replace("_", "-"): value for name, value in corpus.items()}))
            if corpus
            else constructed_cohort(
                folder / "cohort", clients=given.devices, examples=(8, 16), tokens={"text": 3, "audio": 3}, width=64
            )
        )
        clients = Cohort.load(cohort).client_names[: given.devices]
        said = _measure(folder, cohort, given.devices, given.rounds, corpus)
    print(json.dumps({"devices": list(clients), **said, "load": round(os.getloadavg()[0], 1)}))


def _measure(folder: Path, cohort: Path, count: int, number: int, corpus: dict[str, str]) -> dict[str, Any]:
    with SmallFleet(folder / "at-work", cohort) as fleet, Intruders(fleet, partition=0) as intruders:
        for k in range(count):
            fleet.enroll(f"device{k}", k, "--min-examples", "1")
            fleet.start(f"device{k}")
        fleet.online(count)
        fleet.submit(_RUN, number, clients_per_round=count, gather_s=120.0, **corpus)
        lines = fleet.wait(_RUN, timeout_s=3600)
        with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
            committed = {r.round: r.arrays_sha256 for r in rounds.of_run(registry, _RUN) if r.arrays_sha256}
            names = {device.id: device.name for device in devices.every(registry)}
            answered = {n: participations.of_round(registry, _RUN, n) for n in committed}
            refused = Counter(entry.action for entry in audit.entries(registry))
        config = RunFolder.open(fleet.path / "runs" / _RUN).config
        again = replay(folder, cohort, config, {n: range(count) for n in committed})
    return {
        "rounds": len(committed),
        "clients_a_round": [line["clients"] for line in lines],
        "equal_to_simulation": again == committed,
        "took_part": sorted({names[p.slot.device_id] for some in answered.values() for p in some}),
        "intruders_started": dict(intruders.starts),
        "refused_in_audit_log": {name: refused[name] for name in ("superlink.refused", "device.refused")},
        "seconds_a_round": [round(line["train_seconds"], 1) for line in lines],
    }


if __name__ == "__main__":
    main()
