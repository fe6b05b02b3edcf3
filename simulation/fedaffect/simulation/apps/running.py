"""``run_simulation``: Flower's function of that name, over our actors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.simulation.apps.app_grid import AppGrid
from fedaffect.simulation.apps.worker import let_gpu_memory_grow

logger = logging.getLogger(__name__)

# What workers print is shown, as by Flower's engine.
_INIT_ARGS: Final[Mapping[str, Any]] = {"log_to_driver": True, "logging_level": logging.WARNING}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a simulation ended.

    Parameters
    ----------
    context : Context
        The ServerApp's, with whatever it left in ``state``.
    asked, answers, failures : int
        Messages to clients, their answers, and how many of these were errors.
    replaced_actors : int
        Actors that died and were replaced.
    """

    context: Context
    asked: int
    answers: int
    failures: int
    replaced_actors: int


def run_simulation(
    server_app: ServerApp,
    client_app: ClientApp,
    num_supernodes: int,
    backend_name: str = "ray",
    backend_config: Mapping[str, Any] | None = None,
    enable_tf_gpu_growth: bool = False,
    verbose_logging: bool = False,
) -> None:
    """Run a Flower app with simulated nodes, as ``flwr.simulation.run_simulation`` does, on resident actors.

    Parameters
    ----------
    server_app : ServerApp
    client_app : ClientApp
    num_supernodes : int
        How many nodes there are.
    backend_name : str
        ``"ray"``; there is no other.
    backend_config : mapping, optional
        ``client_resources``: what an actor takes, such as ``{"num_cpus": 1, "num_gpus": 0.25}``; two CPUs by default.
        ``init_args``: of ``ray.init``, where Ray does not run yet. ``actor``: ``{"tensorflow": True}`` has TensorFlow
        take memory of a GPU as it needs it.
    enable_tf_gpu_growth : bool
        The same, in this process too.
    verbose_logging : bool
        Show Flower's lines of level DEBUG.

    Raises
    ------
    ConfigError
        If Ray has no room for an actor, or the backend is unknown.
    Exception
        Whatever the ServerApp raises.
    """
    if backend_name != "ray":
        raise unknown_name("backend", backend_name, ["ray"])
    if verbose_logging:
        flower = logging.getLogger("flwr")
        flower.setLevel(logging.DEBUG)
        for handler in flower.handlers:
            handler.setLevel(logging.DEBUG)
    config = _underscored(dict(backend_config or {}))
    if unknown := config.keys() - {"init_args", "client_resources", "actor"}:
        raise ConfigError(f"backend_config has {sorted(unknown)}; it takes init_args, client_resources and actor")
    if enable_tf_gpu_growth:
        let_gpu_memory_grow()
    growth = enable_tf_gpu_growth or bool(config.get("actor", {}).get("tensorflow"))
    run_app(
        server_app,
        client_app,
        num_supernodes,
        resources=config.get("client_resources"),
        init_args=config.get("init_args"),
        gpu_growth=growth,
    )


def run_app(
    server_app: ServerApp,
    client_app: ClientApp,
    nodes: int,
    *,
    run_config: Mapping[str, Any] | None = None,
    init_args: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Ended:
    """Run a ServerApp over nodes that run a ClientApp.

    Parameters
    ----------
    server_app : ServerApp
    client_app : ClientApp
    nodes : int
    run_config : mapping, optional
        What ``context.run_config`` holds, of the ServerApp and of every node.
    init_args : mapping, optional
        Of ``ray.init``.
    **settings
        Others of :class:`fedaffect.simulation.apps.AppGrid`.

    Raises
    ------
    Exception
        Whatever the ServerApp raises.
    """
    init_args = {**_INIT_ARGS, **(init_args or {})}
    with AppGrid(client_app, nodes, run_config=run_config, init_args=init_args, **settings) as grid:
        context = Context(grid.run.run_id, 0, {}, RecordDict(), dict(run_config or {}))
        server_app(grid, context)
        ended = Ended(context, grid.asked, grid.answers, grid.failures, grid.replaced_actors)
    if ended.failures:
        logger.warning("%d of %d answers of clients were errors", ended.failures, ended.answers)
    return ended


def _underscored(config: Any) -> Any:
    """With ``client_resources`` for ``client-resources``, as Flower takes both."""
    if isinstance(config, Mapping):
        return {key.replace("-", "_"): _underscored(value) for key, value in config.items()}
    return config
