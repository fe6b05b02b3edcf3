"""Whether a round's time and memory depend on how many clients are registered.

    python -m benchmarks.many_clients

Constructed data; 1,000 clients a round of 2,000 and of 100,000 registered ones, in turns. Memory is the sum over
the driver, the actors and Ray's own processes of their proportional share (PSS), sampled a few times a second.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import click
import psutil

from benchmarks.simulation_engines import ROOT
from benchmarks.workload import Workload

_MARK = "figures: "
_WARM_UP = 1
_SAMPLE_S = 0.3


class PeakShare(threading.Thread):
    """Highest sum of proportional shares of this process and all its descendants, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            me = psutil.Process()
            shares = [_share_mb(process) for process in (me, *me.children(recursive=True))]
            self.peak_mb = max(self.peak_mb, sum(shares))

    def stop(self) -> float:
        """End sampling; returns the peak."""
        self._over.set()
        self.join()
        return self.peak_mb


def _share_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 2**20
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def measure(registered: int, a_round: int, rounds: int, cores: int, cohort: Path) -> dict[str, object]:
    """Seconds of each timed round, and the peak of memory."""
    from fedaffect.server.federation.run_folder import RunFolder
    from fedaffect.simulation.engines import run

    workload = Workload(clients=registered, clients_a_round=a_round)
    memory = PeakShare()
    memory.start()
    with tempfile.TemporaryDirectory() as folder:
        config = workload.run_config(rounds + _WARM_UP, cores, Path(folder))
        run_folder = RunFolder.create(config)
        run(config, cohort, run_folder)
        seconds = [line["train_seconds"] for line in run_folder.metrics()[_WARM_UP:]]
    return {"seconds": seconds, "peak_mb": memory.stop()}


@click.command(help=__doc__)
@click.option("--registered", multiple=True, type=int, default=(2_000, 100_000), help="Clients that exist.")
@click.option("--clients-per-round", default=1_000)
@click.option("--rounds", default=2, help="Timed rounds of each process.")
@click.option("--repetitions", default=2, help="How often all take their turn.")
@click.option("--cores", default=len(os.sched_getaffinity(0)), help="Actors.")
@click.option("--cohort", type=click.Path(path_type=Path), hidden=True)
def main(
    registered: tuple[int, ...],
    clients_per_round: int,
    rounds: int,
    repetitions: int,
    cores: int,
    cohort: Path | None,
) -> None:
    """See the module's text."""
    if cohort is not None:
        print(_MARK + json.dumps(measure(registered[0], clients_per_round, rounds, cores, cohort)))
        return
    seconds: dict[int, list[float]] = {count: [] for count in registered}
    peaks: dict[int, float] = dict.fromkeys(registered, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        cohorts = {}
        for count in registered:
            # Clients share samples in turn: 100,000 clients of 32 with three tokens each would be 9.8 GB.
            workload = Workload(clients=count, clients_a_round=clients_per_round)
            cohorts[count] = workload.write_cohort(Path(folder) / f"{count}", rows=min(64_000, count * 32))
        for repetition in range(repetitions):
            for count in registered:
                click.echo(f"{repetition + 1}/{repetitions}: {count} registered", err=True)
                figures = _run(count, clients_per_round, rounds, cores, cohorts[count])
                seconds[count] += figures["seconds"]
                peaks[count] = max(peaks[count], figures["peak_mb"])
    print(f"constructed data: {clients_per_round} clients a round, {cores} actors")
    print(f"{'registered':>10s} {'s a round':>10s} {'min - max':>16s} {'ratio':>6s} {'peak MiB':>9s}")
    base = statistics.median(seconds[registered[0]])
    for count in registered:
        values = seconds[count]
        median = statistics.median(values)
        spread = f"{min(values):.2f} - {max(values):.2f}"
        print(f"{count:10d} {median:10.2f} {spread:>16s} {median / base:6.2f} {peaks[count]:9.0f}")


def _run(registered: int, a_round: int, rounds: int, cores: int, cohort: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.many_clients", "--registered", str(registered)]
    command += ["--clients-per-round", str(a_round), "--rounds", str(rounds), "--cores", str(cores)]
    command += ["--cohort", str(cohort)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            figures: dict[str, object] = json.loads(line.removeprefix(_MARK))
            return figures
    raise click.ClickException(f"{registered} registered clients gave no figures:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
