"""What secure aggregation costs a round, in seconds and bytes, with and without lost replies.

    python -m benchmarks.secagg

Constructed data; two SGD steps a client on the cross-modal transformer of 1.1 M parameters, all of a round's clients
over resident actors, as ``fedaffect simulate`` runs them. The time of a round is from its first message to the new
parameters: training, all four stages, summing, unmasking. Plain aggregation beside it, in the same process.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import psutil
from tests.support.losing_grid import LosingGrid

from benchmarks.workload import Workload
from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

# The first round of a run loads the model into its workers.
_WARM_UP = 1
VARIANTS = ("plain", "int8", "secagg", "secagg+int8", "secagg, 30 % lost", "secagg+int8, 30 % lost")


class CpuClock:
    """Seconds of processor time of this process and its workers, round by round: what a busy machine cannot distort."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Begin."""
        self._last = self._now()

    def round_finished(self, record: RoundRecord) -> None:
        """Take a round's."""
        now = self._now()
        self.seconds.append(now - self._last)
        self._last = now

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Nothing more."""

    @staticmethod
    def _now() -> float:
        me = psutil.Process()
        workers = [process for process in me.children(recursive=True) if "ClientWorker" in process.name()]
        times = [process.cpu_times() for process in (me, *workers)]
        return sum(t.user + t.system for t in times)


def measure(variant: str, base: RunSettings, cohort: Path, out: Path) -> dict[str, object]:
    """Seconds of a round (median) and bytes of one client, up and down."""
    lost = 0.3 if "lost" in variant else 0.0
    config = base.changed(
        secagg="secagg" in variant,
        compression="int8" if "int8" in variant else "none",
        out=out,
        name=variant.replace(" ", "-").replace("%", "percent").replace(",", ""),
    )
    folder = RunFolder.create(config)
    with LosingGrid(cohort, actors=config.engine.actors, state_folder=folder.client_states, share=lost) as grid:
        clock = CpuClock()
        run_federation(grid, config, cohort, folder, [clock])
    lines = folder.metrics()[_WARM_UP:]
    seconds = [float(line["train_seconds"]) for line in lines]
    clients = [int(line["clients"]) for line in lines]
    return {
        "variant": variant,
        "clients_a_round": config.federation.clients_per_round,
        "clients_in_the_sum": clients,
        "rounds_completed": sum(count > 0 for count in clients),
        "rounds": len(lines),
        "seconds": statistics.median(seconds),
        "seconds_each": [round(s, 2) for s in seconds],
        "cpu_seconds": statistics.median(clock.seconds[_WARM_UP:]),
        "bytes_up": int(lines[-1]["bytes_up"]) // max(1, clients[-1]),
        "bytes_down": int(lines[-1]["bytes_down"]) // (clients[-1] + int(lines[-1]["failures"])),
    }


@click.command()
@click.option("--clients", default="10,100,500", help="Clients a round, with commas between.")
@click.option("--rounds", default=3, help="Timed rounds of each.")
@click.option("--cores", default=os.cpu_count(), help="Actors.")
@click.option("--variants", default=";".join(VARIANTS), help="With semicolons between.")
@click.option("--out", type=Path, help="JSON file.")
def main(clients: str, rounds: int, cores: int, variants: str, out: Path | None) -> None:
    """Measure every variant for every number of clients."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (int(part) for part in clients.split(",")):
            workload = Workload(clients=count, clients_a_round=count)
            place = Path(folder) / f"{count}"
            cohort = workload.write_cohort(place / "cohort", rows=2000)
            base = workload.run_config(_WARM_UP + rounds, cores, place)
            for variant in variants.split(";"):
                result = measure(variant, base, cohort, place)
                results.append(result)
                print(json.dumps(result), flush=True)
    if out:
        out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
