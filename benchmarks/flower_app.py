"""Milliseconds a client of a Flower app takes, by Flower's engine and by ours, in turn in one run.

    python -m benchmarks.flower_app [--examples 32 --examples 512]

The app is ``examples/flower_app``, Flower's PyTorch quick start in our own words: the CNN of its tutorial (62,006
parameters), FedAvg, constructed images of 32 x 32. A round trains and evaluates every client; its time by the number of
clients is the figure. The raw loop calls the same training and evaluation in one process a core, with nothing around:
no engine can be faster. Each engine runs in a process of its own, one after the other, again and again; starting up and
the first round do not count. All three end with the same arrays, but for the order of sums.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "examples" / "flower_app"
ROUNDS, WARM_UP = 3, 1
_MARK = "figures: "
RAW, OURS, FLOWERS = "raw loop", "RayGrid", "Flower's engine"


def _config(examples: int) -> dict[str, Any]:
    return {"examples": examples, "local-epochs": 1, "batch-size": 32, "lr": 0.1}


def _with_engine(run: Callable[..., None], clients: int, examples: int, cores: int) -> tuple[list[float], Any]:
    import torch
    from flwr.app import ArrayRecord, ConfigRecord, Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import FedAvg
    from quickstart.client_app import app as client_app
    from quickstart.task import Net

    times: list[float] = []
    ended: list[Any] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        while len(list(grid.get_node_ids())) < clients:
            time.sleep(0.1)
        torch.manual_seed(0)
        config = _config(examples)
        result = FedAvg().start(
            grid,
            ArrayRecord(Net().state_dict()),
            num_rounds=ROUNDS + WARM_UP,
            train_config=ConfigRecord(dict(config)),
            evaluate_config=ConfigRecord({"examples": examples}),
            # Called before the first round and after each.
            evaluate_fn=lambda number, arrays: times.append(time.perf_counter()),
        )
        ended.append({name: array.numpy() for name, array in result.arrays.items()})

    backend = {
        "init_args": {"num_cpus": cores, "include_dashboard": False},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    run(server_app, client_app, clients, backend_config=backend)
    return list(np.diff(times)[WARM_UP:]), ended[0]


def _ours(clients: int, examples: int, cores: int) -> tuple[list[float], Any]:
    from fedaffect.simulation import run_simulation

    return _with_engine(run_simulation, clients, examples, cores)


def _flowers(clients: int, examples: int, cores: int) -> tuple[list[float], Any]:
    from flwr.simulation import run_simulation

    return _with_engine(run_simulation, clients, examples, cores)


def _one(weights: dict[str, Any], round: int, examples: int, client: int) -> dict[str, Any]:
    from quickstart.task import Net, constructed_images, evaluate, train

    net, config = Net(), _config(examples)
    net.load_state_dict(weights)
    data = constructed_images(examples, seed=client)
    train(net, data, config["local-epochs"], config["batch-size"], config["lr"], 1000 * round + client)
    trained = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    net.load_state_dict(weights)
    evaluate(net, constructed_images(examples, seed=1_000_000 + client))
    return trained


def _start_process() -> None:
    import torch

    torch.set_num_threads(1)


def _raw(clients: int, examples: int, cores: int) -> tuple[list[float], Any]:
    import torch
    from quickstart.task import Net

    torch.manual_seed(0)
    weights, seconds = Net().state_dict(), []
    with ProcessPoolExecutor(cores, initializer=_start_process) as pool:
        for round in range(1, ROUNDS + WARM_UP + 1):
            began = time.perf_counter()
            ask = partial(_one, weights, round, examples)
            all_of_them = list(pool.map(ask, range(clients), chunksize=max(1, clients // (4 * cores))))
            mean = {name: np.mean([one[name] for one in all_of_them], axis=0) for name in weights}
            weights = {name: torch.from_numpy(values) for name, values in mean.items()}
            seconds.append(time.perf_counter() - began)
    return seconds[WARM_UP:], {name: value.numpy() for name, value in weights.items()}


_ENGINES = {RAW: _raw, OURS: _ours, FLOWERS: _flowers}


@click.command(help=__doc__)
@click.option("--examples", multiple=True, type=int, default=(32, 512), show_default=True, help="Of a client.")
@click.option("--clients", default=40, show_default=True, help="Clients of a round, which are all.")
@click.option("--repetitions", default=2, show_default=True, help="How often all engines take their turn.")
@click.option("--cores", default=len(os.sched_getaffinity(0)), help="Processes of each engine.")
@click.option("--measure", hidden=True, help="Run one engine in this process.")
@click.option("--arrays", type=click.Path(path_type=Path), hidden=True)
def main(
    examples: tuple[int, ...], clients: int, repetitions: int, cores: int, measure: str | None, arrays: Path | None
) -> None:
    """See the module's text."""
    sys.path.insert(0, str(APP))
    if measure is not None and arrays is not None:
        seconds, ended = _ENGINES[measure](clients, examples[0], cores)
        np.savez(arrays, **ended)
        print(_MARK + json.dumps([each * 1e3 / clients for each in seconds]))
        return
    for number in examples:
        figures: dict[str, list[float]] = {name: [] for name in _ENGINES}
        with tempfile.TemporaryDirectory() as folder:
            for repetition in range(repetitions):
                for name in _ENGINES:
                    click.echo(f"{number} examples, {repetition + 1}/{repetitions}: {name}", err=True)
                    figures[name] += _run(name, number, clients, cores, Path(folder) / f"{name}.npz")
            _report(number, clients, figures, Path(folder))


def _run(name: str, examples: int, clients: int, cores: int, arrays: Path) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.flower_app", "--measure", name, "--arrays", str(arrays)]
    command += ["--examples", str(examples), "--clients", str(clients), "--cores", str(cores)]
    # Flower's engine puts this before what its workers import.
    environment = {**os.environ, "PYTHONPATH": str(APP), "FLWR_TELEMETRY_ENABLED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not lines:
        raise click.ClickException(f"{name} failed: {done.stderr[-2000:]}")
    figures: list[float] = json.loads(lines[0].removeprefix(_MARK))
    return figures


def _report(examples: int, clients: int, figures: dict[str, list[float]], folder: Path) -> None:
    print(f"{clients} clients of {examples} constructed examples, a round of training and evaluation")
    raw = statistics.median(figures[RAW])
    ended = {name: np.load(folder / f"{name}.npz") for name in figures}
    for name, values in figures.items():
        middle = statistics.median(values)
        apart = max(float(np.abs(ended[name][key] - ended[RAW][key]).max()) for key in ended[RAW])
        spread = f"({min(values):.2f} - {max(values):.2f})"
        print(
            f"  {name:16} {middle:8.2f} ms a client {spread}, {middle / raw:.2f} x raw, {apart:.1e} from raw's arrays"
        )
    ratio = statistics.median(figures[FLOWERS]) / statistics.median(figures[OURS])
    most = statistics.median(figures[FLOWERS]) / raw
    print(f"  {OURS} is {ratio:.2f} x as fast as {FLOWERS}; an engine that costs nothing would be {most:.2f} x")


if __name__ == "__main__":
    main()
