"""A fleet of real devices gives the arrays of the simulation: TLS, node authentication, one machine.

    python -m benchmarks.fleet_devices --devices 8 --rounds 3 --cohort FOLDER

``--cohort`` is a prepared cohort, as ``fedaffect simulate`` leaves it in the cache: MELD's speakers, say, of which the
first so many become devices. Without it a constructed one is made. Every round is then computed again in one process,
with the same seed and the same devices; the arrays must be equal, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.constructed_cohort import constructed_cohort
from benchmarks.replaying import replay
from benchmarks.small_fleet import SmallFleet
from client.cohort import Cohort
from server.fleet.folder import FleetFolder
from server.registry import Registry, rounds
from server.run_folder import RunFolder


def main() -> None:
    """Run, compare and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cohort", type=Path)
    parser.add_argument("--labels", default="", help="label set of the cohort, where it is not the synthetic one's")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-devices-") as temporary:
        folder = Path(temporary)
        cohort = given.cohort or constructed_cohort(
            folder / "cohort", clients=given.devices, examples=(8, 16), tokens={"text": 3, "audio": 3}, width=64
        )
        clients = Cohort.load(cohort).client_names[: given.devices]
        more = {"labels": given.labels} if given.labels else {}
        with SmallFleet(folder / "at-work", cohort) as fleet:
            for k in range(given.devices):
                fleet.enroll(f"device{k}", k, "--min-examples", "1")
                fleet.start(f"device{k}")
            fleet.online(given.devices)
            fleet.submit("devices", given.rounds, clients_per_round=given.devices, gather_s=120.0, **more)
            lines = fleet.wait("devices", timeout_s=3600)
            with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
                committed = {r.round: r.arrays_sha256 for r in rounds.of_run(registry, "devices") if r.arrays_sha256}
            config = RunFolder.open(fleet.path / "runs" / "devices").config
            again = replay(folder, cohort, config, {number: range(given.devices) for number in committed})
    said = {
        "devices": list(clients),
        "rounds": len(committed),
        "clients_a_round": [line["clients"] for line in lines],
        "equal_to_simulation": again == committed,
        "seconds_a_round": [round(line["train_seconds"], 1) for line in lines],
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
