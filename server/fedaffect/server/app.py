"""Flower's face of the server: ``flwr run .`` ends up here."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedaffect.client.cohort import Cohort
from fedaffect.client.figures import CHOSEN_BY
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.processes import end_with_parent
from fedaffect.server.federation.flower_grid import FlowerGrid
from fedaffect.server.federation.observer import RoundRecord, registered_observers
from fedaffect.server.federation.preparers import prepared_cohort
from fedaffect.server.federation.privacy.words import guarantee, spent
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings, from_flwr
from fedaffect.server.public_data import public_of
from fedaffect.server.starting_point import start_of, with_start

# Keys of a Flower run config that are not settings of the run itself.
_COHORT_FOLDER, _RESUME, _OVERWRITE = "cohort-folder", "resume", "overwrite"
# A run of a fleet: it is begun where the registry says that it stands.
_FLEET_RUN = "fleet-run"
# A region's part of a run of its root's fleet.
_REGION_RUN = "region-run"

app = ServerApp()
logger = logging.getLogger("flwr")


class LogObserver:
    """One line a round in Flower's own log."""

    def __init__(self) -> None:
        self._chosen_by = "uar"

    def started(self, config: RunSettings, cohort: Cohort, parameters: int) -> None:
        """Say what is about to run."""
        self._chosen_by = config.evaluation.select_by
        logger.info(
            "%s on %s: %d clients, %d rounds, %d parameters",
            config.federation.strategy,
            config.data.dataset,
            cohort.num_clients,
            config.federation.rounds,
            parameters,
        )

    def round_finished(self, record: RoundRecord) -> None:
        """Say how a round went."""
        said = [f"{record.clients} clients, {record.failures} failed"]
        if record.train_loss is not None:
            said.append(f"loss {record.train_loss:.4f}")
        if record.dev:
            said.append(f"dev {CHOSEN_BY[self._chosen_by]} {record.dev[self._chosen_by]:.3f}")
        if record.privacy:
            said.append(spent(record.privacy))
        logger.info("round %d: %s, %.1f updates/s", record.round, ", ".join(said), record.updates_per_second)

    def finished(self, summary: Mapping[str, Any]) -> None:
        """Say what the best round reached."""
        test = summary["test"]
        reached = f"UAR {test['uar']:.3f}, accuracy {test['accuracy']:.3f}" if test else "no test split"
        private = f"; {guarantee(summary['privacy'])}" if summary.get("privacy") else ""
        logger.info("best round %s, test: %s%s", summary["best_round"], reached, private)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run what the run config says, over whatever nodes are connected."""
    settings = {key: value for key, value in context.run_config.items() if value != ""}
    if fleet_run := settings.pop(_FLEET_RUN, None):
        from fedaffect.server.fleet.regions.carrying import carry_orders
        from fedaffect.server.fleet.runs.run_runner import resume_run

        # On SIGTERM Flower would say farewell to a SuperLink that is gone, and wait for it. The run goes on elsewhere.
        end_with_parent(signal.SIGKILL)
        if _REGION_RUN in settings:
            carry_orders(grid, context.run_id, str(fleet_run), settings)
            return
        resume_run(grid, context.run_id, str(fleet_run), settings, [LogObserver()])
        return
    cohort_folder = settings.pop(_COHORT_FOLDER, None)
    resume = settings.pop(_RESUME, None)
    overwrite = bool(settings.pop(_OVERWRITE, False))
    # Not an engine that we start: Flower's own, or a fleet of its nodes. The summary says so.
    config = from_flwr(with_start({"engine": "flower", **settings}))
    if config.robustness.attack is not None or config.time.trace is not None:
        raise ConfigError("attacks and traces are simulated: run them with 'fedaffect simulate', not with flwr run")
    folder = RunFolder.open(Path(str(resume))) if resume else RunFolder.create(config, overwrite=overwrite)
    try:
        cohort = Path(str(cohort_folder)) if cohort_folder else prepared_cohort(config)
    except BaseException:
        if not resume:
            folder.discard_unstarted()
        raise
    observers = [LogObserver(), *registered_observers(folder.path)]
    run_federation(
        FlowerGrid(grid),
        config,
        cohort,
        folder,
        observers,
        resume=bool(resume),
        start=start_of(config),
        public=public_of(config),
    )
