"""``fedaffect run-app``: somebody's Flower app, on our actors."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Examples:
  fedaffect run-app examples/flower_app --clients 20 --cpus 1
  fedaffect run-app MY_APP --run-config 'num-server-rounds=5 lr=0.05'
  fedaffect run-app MY_APP --clients 1000 --cpus 1 --gpus 0.1
"""


@click.command("run-app", epilog=_EPILOG)
@click.argument("folder", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--clients", type=click.IntRange(1), metavar="N", help="Simulated nodes.  [default: the app's, or 2]")
@click.option(
    "--run-config",
    multiple=True,
    metavar="KEY=VALUE ...",
    help="In place of values in [tool.flwr.app.config], or a TOML file with them; repeatable.",
)
@click.option("--cpus", type=float, help="CPUs that a worker takes; it computes with so many threads.  [default: 2]")
@click.option("--gpus", type=float, help="GPUs that a worker takes; fractions share one.  [default: 0]")
@click.option("--ray-address", metavar="ADDRESS", help="A Ray cluster; by default Ray runs on this machine only.")
def run_app(
    folder: Path,
    clients: int | None,
    run_config: tuple[str, ...],
    cpus: float | None,
    gpus: float | None,
    ray_address: str | None,
) -> None:
    """Run a Flower app with simulated clients, unchanged and faster than `flwr run` does.

    PATH is the app's folder, with its pyproject.toml. Its clients run on resident workers, as many as there is room
    for; whatever its ServerApp prints is printed, and its error is this command's.
    """
    from fedaffect.edge.errors import RunError
    from fedaffect.simulation.apps.project import Project
    from fedaffect.simulation.apps.running import run_app as run

    project = Project.read(folder, run_config)
    server_app, client_app = project.load()
    asked = {"num_cpus": cpus, "num_gpus": gpus}
    ended = run(
        server_app,
        client_app,
        clients or project.nodes,
        run_config=project.run_config,
        resources={**project.resources, **{name: amount for name, amount in asked.items() if amount is not None}},
        init_args={"address": ray_address} if ray_address else None,
    )
    if ended.asked and not ended.answers:
        raise RunError(
            f"no client answered any of {ended.asked} messages; give them more time, or nodes that are there"
        )
    if ended.answers and ended.failures == ended.answers:
        raise RunError(f"all {ended.answers} answers of clients were errors; the log says what the first one raised")
