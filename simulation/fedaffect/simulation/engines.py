"""What runs the clients of a simulation: our resident actors, or Flower's own engine, with the same apps."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import ray
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedaffect.client.app import app as client_app
from fedaffect.client.cohort import Cohort
from fedaffect.client.flower_compat.telemetry import quiet_flower_engine
from fedaffect.client.plugins import offering
from fedaffect.edge.errors import FedAffectError, RunError, unknown_name
from fedaffect.server.federation.grid import TrainingGrid
from fedaffect.server.federation.observer import Observer
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.public_data import public_of
from fedaffect.server.ray_session import quiet_ray
from fedaffect.server.starting_point import start_of
from fedaffect.simulation.attacks.backdoor import BACKDOOR_VIEW
from fedaffect.simulation.attacks.grid import AttackedGrid
from fedaffect.simulation.attacks.registry import Campaign
from fedaffect.simulation.given import client_objects, task_opener
from fedaffect.simulation.grid import RayGrid
from fedaffect.simulation.traces.registry import pace_of

# All of Flower's actors answer at last, but a busy machine starts them slowly.
_ACTORS_S = 900.0

Summary: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Simulation:
    """Everything that a run needs, whatever runs it.

    Parameters
    ----------
    config : RunSettings
    cohort_folder : Path
    run_folder : RunFolder
    observers : sequence of Observer
    resume : bool
    """

    config: RunSettings
    cohort_folder: Path
    run_folder: RunFolder
    observers: Sequence[Observer] = field(default=())
    resume: bool = False

    def over(self, grid: TrainingGrid) -> Summary:
        """Run the federation over a grid, with what disturbs it."""
        campaign = Campaign.of(self.config)
        cohort = Cohort.load(self.cohort_folder)
        if campaign is not None and campaign.attack.tamper is not None:
            grid = AttackedGrid(grid, campaign, cohort.num_clients)
        pace = pace_of(self.config, cohort)
        attack = {} if campaign is None else {"attack": campaign.describe(cohort)}
        summary = run_federation(
            grid,
            self.config,
            self.cohort_folder,
            self.run_folder,
            self.observers,
            resume=self.resume,
            about=attack if pace is None else {**attack, "trace": pace.describe()},
            pace=pace,
            start=start_of(self.config),
            public=public_of(self.config),
        )
        if BACKDOOR_VIEW in summary["test_views"]:
            summary["attack"]["success"] = summary["test_views"][BACKDOOR_VIEW]["accuracy"]
            self.run_folder.write_summary(summary)
        return summary


def run(
    config: RunSettings,
    cohort_folder: Path,
    run_folder: RunFolder,
    observers: Sequence[Observer] = (),
    resume: bool = False,
) -> Summary:
    """Run a simulation with the engine that its settings name.

    Both give the same arrays, bit for bit, where clients train one after the other: an update is a pure function
    computed on one thread, and sums are taken in whole numbers.

    Parameters
    ----------
    config : RunSettings
        ``engine``, ``actors``, ``gpus_per_actor``, ``cohort_size`` and ``ray_address`` say what runs it.
    cohort_folder : Path
    run_folder : RunFolder
    observers : sequence of Observer
    resume : bool

    Returns
    -------
    dict
        The summary, as in ``summary.json``.

    Raises
    ------
    FedAffectError
        As :func:`fedaffect.server.federation.run.run_federation`; ConfigError on an unknown engine.
    """
    if config.engine.engine not in ENGINES:
        raise unknown_name("engine", config.engine.engine, ENGINES)
    return ENGINES[config.engine.engine](Simulation(config, cohort_folder, run_folder, observers, resume))


def _run_on_ray(simulation: Simulation) -> Summary:
    config = simulation.config
    with RayGrid(
        simulation.cohort_folder,
        actors=config.engine.actors,
        gpus_per_actor=config.engine.gpus_per_actor,
        cohort_size=config.engine.cohort_size,
        address=config.engine.ray_address,
        state_folder=simulation.run_folder.client_states,
        opener=task_opener(),
    ) as grid:
        summary = simulation.over(grid)
        summary["workers"] = {"replaced": grid.replaced_actors, "answers": grid.answers_by_machine}
        simulation.run_folder.write_summary(summary)
        return summary


def _run_on_flower(simulation: Simulation) -> Summary:
    if simulation.resume and simulation.run_folder.client_states.is_dir():
        raise RunError("the clients of this run keep states that only --engine ray reads; resume it with that engine")
    # Here, not above: these bring a SuperLink with its database, a second that our own engine does not need.
    from flwr.simulation import run_simulation

    from fedaffect.server.federation.flower_grid import FlowerGrid

    summaries: list[Summary] = []
    errors: list[FedAffectError] = []
    server_app = ServerApp()
    here = copy_context()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        # In a thread of Flower's. What it raises there Flower logs with its traceback and waits.
        try:
            summaries.append(here.run(simulation.over, FlowerGrid(grid, nodes_timeout_s=_ACTORS_S)))
        except FedAffectError as error:
            errors.append(error)

    clients = Cohort.load(simulation.cohort_folder).num_clients
    with quiet_flower_engine(), quiet_ray():
        run_simulation(server_app, _client_app(), clients, backend_config=_backend(simulation.config))
    if errors:
        raise errors[0]
    if not summaries:
        raise RunError("Flower's engine stopped before the run was over; use --engine ray")
    return summaries[0]


def _client_app() -> ClientApp:
    """Our ClientApp; where objects were given for the clients, one that carries them to Flower's actors."""
    objects = client_objects()
    if not objects:
        return client_app
    carrier = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        with offering(objects):
            return client_app(message, context)

    for kind in (carrier.train, carrier.evaluate, carrier.query):
        kind()(answer)
    return carrier


def _backend(config: RunSettings) -> dict[str, Any]:
    start: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if config.engine.ray_address is not None:
        start["address"] = config.engine.ray_address
    elif not ray.is_initialized():
        start["num_cpus"] = config.engine.actors or os.cpu_count() or 1
    return {"init_args": start, "client_resources": {"num_cpus": 1, "num_gpus": 0.0}}


ENGINES: Mapping[str, Callable[[Simulation], Summary]] = MappingProxyType(
    {"ray": _run_on_ray, "flower": _run_on_flower}
)
