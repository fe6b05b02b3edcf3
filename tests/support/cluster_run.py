"""A run over a Ray cluster: ``python -m tests.support.cluster_run ADDRESS SETTINGS COHORT``.

It writes a line of JSON after each round and at its end, and goes on when it reads a line.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.constructed_cohort import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.edge.errors import FedAffectError
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.engines import Simulation
from fedaffect.simulation.grid import RayGrid


def say(**values: Any) -> None:
    """A line for whoever steers."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


class Steered:
    """An observer that stops after each round until it is told to go on."""

    def __init__(self, grid: RayGrid) -> None:
        self.grid = grid

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Nothing."""

    def round_finished(self, record: RoundRecord) -> None:
        """Say so; ``gather`` waits until every actor is there, anything else goes on at once."""
        say(round=record.round, failures=record.failures, answers=self.grid.answers_by_machine)
        while sys.stdin.readline().strip() == "gather":
            while self.grid._dispatcher.ready < self.grid._dispatcher.actors:
                self.grid.pull_messages([])
            say(gathered=self.grid._dispatcher.ready)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Nothing."""


def run(address: str, settings: dict[str, Any], cohort: Path) -> None:
    """Run, and say what came out."""
    config = RunSettings.of(**settings, out=Path("/tmp/runs"))
    folder = RunFolder.create(config)
    with RayGrid(cohort, address=address, state_folder=folder.client_states) as grid:
        summary = Simulation(config, cohort, folder, [Steered(grid)]).over(grid)
        say(digest=digest_of(folder, summary["rounds"]), answers=grid.answers_by_machine, replaced=grid.replaced_actors,
            failures=summary["client_failures"])  # fmt: skip


def digest_of(folder: RunFolder, round_number: int) -> str:
    """SHA-256 of what a round left: the model, and what its strategy remembers."""
    last = folder.checkpoints.load(round_number)
    digest = hashlib.sha256()
    for held in (last.arrays, last.state):
        for name in sorted(held):
            digest.update(held[name].tobytes())
    return digest.hexdigest()


def small_cohort(folder: Path) -> Path:
    """The cohort of runs that are given none, constructed where it is not there."""
    if folder.exists():
        return folder
    return constructed_cohort(folder, clients=10, examples=(4, 24), tokens={"text": 3, "audio": 2}, width=12)


def main() -> None:
    """What the command line says."""
    cohort = small_cohort(Path(sys.argv[3]))
    try:
        run(sys.argv[1], json.loads(sys.argv[2]), cohort)
    except FedAffectError as error:
        say(error=str(error))
        sys.exit(2)


if __name__ == "__main__":
    main()
