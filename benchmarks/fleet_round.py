"""How long a training round of a real fleet takes: two devices, TLS and node authentication, one machine.

    python -m benchmarks.fleet_round --rounds 10

Looked at are the run's own lines: `fedaffect fleet status` starts a process that imports for a second. What all
processes of a kind compute in a round is counted from the first round's line to the last's.

``--cold`` runs Flower's own SuperNodes without a resident trainer: every message then starts a process that imports
torch, and nodes look for messages every three seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Final

from tests.support.constructed_cohort import constructed_cohort
from tests.support.small_fleet import SmallFleet

from benchmarks.processor_time import a_round, processor_seconds

_ROUND_S: Final = 60.0


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--width", type=int, default=192, help="of the fusion model: 192 is the default model")
    parser.add_argument("--cold", action="store_true", help="no resident trainer, Flower's own intervals")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-") as temporary:
        folder = Path(temporary)
        cohort = constructed_cohort(
            folder / "cohort",
            clients=given.devices,
            examples=(16, 32),
            tokens={"text": 3, "audio": 3, "video": 3},
            width=256,
        )
        with SmallFleet(folder / "at-work", cohort) as fleet:
            for k in range(given.devices):
                fleet.enroll(f"device{k}", k)
                if given.cold:
                    fleet.start_plain(f"device{k}", k)
                else:
                    fleet.start(f"device{k}")
            fleet.online(given.devices)
            fleet.submit("round", given.rounds, model_options={"width": given.width}, eval_every=given.rounds)
            _wait(fleet, 1)
            before = processor_seconds(fleet.processes(""))
            _wait(fleet, given.rounds)
            after = processor_seconds(fleet.processes(""))
            rounds = fleet.wait("round", timeout_s=3600)
    # The first round starts the ServerApp's and the devices' caches.
    seconds = [line["train_seconds"] for line in rounds[1:]]
    said = {
        "devices": given.devices,
        "cold": given.cold,
        "rounds": len(seconds),
        "median_s": round(statistics.median(seconds), 2),
        "fastest_s": round(min(seconds), 2),
        "slowest_s": round(max(seconds), 2),
        "processor_s_a_round": a_round(before, after, given.rounds - 1),
        "bytes_up_a_device": rounds[-1]["bytes_up"] // given.devices,
        "load": os.getloadavg()[0],
    }
    print(json.dumps(said))


def _wait(fleet: SmallFleet, rounds: int) -> None:
    """Until a run has so many rounds, or is over."""
    while len(fleet.rounds("round")) < rounds:
        try:
            fleet.wait_for(lambda: len(fleet.rounds("round")) >= rounds, "a round", _ROUND_S)
        except TimeoutError:
            if fleet.run_state("round")["state"] != "open":
                # It raises, and says why the run ended.
                fleet.wait("round")
                return


if __name__ == "__main__":
    main()
