"""Milliseconds a client update takes in four engines, side by side in one run.

    python -m benchmarks.simulation_engines [--tokens 50] [--pfl-python PATH/bin/python]

The workload is ``benchmarks.workload`` (constructed data). Each engine runs in a process of its own, one after the
other, again and again (A B C D A B C D ...), so that whatever else the machine does falls on all of them. Starting
up and the first round of each process do not count. RayGrid and Flower's engine run the very same
``run_federation`` with the same client code; their figure is the time of training and averaging.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks.workload import Workload

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 1
_MARK = "figures: "


def _federation(engine: str) -> Callable[[Workload, Path, int, int], list[float]]:
    def measure(workload: Workload, cohort_folder: Path, rounds: int, cores: int) -> list[float]:
        from fedaffect.server.federation.run_folder import RunFolder
        from fedaffect.simulation.engines import run

        with tempfile.TemporaryDirectory() as folder:
            config = workload.run_config(rounds + WARM_UP, cores, Path(folder), engine)
            run_folder = RunFolder.create(config)
            run(config, cohort_folder, run_folder)
            timed = run_folder.metrics()[WARM_UP:]
        return [line["train_seconds"] * 1e3 / workload.clients_a_round for line in timed]

    return measure


def _raw(workload: Workload, cohort_folder: Path, rounds: int, cores: int) -> list[float]:
    from benchmarks.raw_loop import measure

    return measure(workload, cohort_folder, rounds, WARM_UP, cores)


_OURS: dict[str, Callable[[Workload, Path, int, int], list[float]]] = {
    "raw loop": _raw,
    "RayGrid": _federation("ray"),
    "Flower's engine": _federation("flower"),
}
PFL = "pfl-research"


@click.command(help=__doc__)
@click.option("--tokens", type=click.Choice(["3", "50"]), default="3", help="Tokens of a sample.")
@click.option("--rounds", default=5, help="Timed rounds of each process.")
@click.option("--flower-rounds", default=1, help="The same for Flower's engine, which takes far longer.")
@click.option("--repetitions", default=3, help="How often all engines take their turn.")
@click.option("--cores", default=len(os.sched_getaffinity(0)), help="Processes of each engine.")
@click.option("--only", multiple=True, help="Leave out the others; a part of the name will do.")
@click.option("--pfl-python", type=click.Path(path_type=Path), help="Python of an environment that has pfl.")
@click.option("--measure", hidden=True, help="Run one engine in this process.")
@click.option("--cohort", type=click.Path(path_type=Path), hidden=True)
def main(
    tokens: str,
    rounds: int,
    flower_rounds: int,
    repetitions: int,
    cores: int,
    only: tuple[str, ...],
    pfl_python: Path | None,
    measure: str | None,
    cohort: Path | None,
) -> None:
    """See the module's text."""
    workload = Workload(tokens=int(tokens))
    if measure is not None and cohort is not None:
        print(_MARK + json.dumps(_OURS[measure](workload, cohort, rounds, cores)))
        return
    engines = [name for name in (*_OURS, PFL) if not only or any(part.lower() in name.lower() for part in only)]
    skipped = {}
    if PFL in engines and (pfl_python is None or not pfl_python.exists()):
        engines.remove(PFL)
        skipped[PFL] = "skipped: give --pfl-python (benchmarks/pfl_loop.py says how to make that environment)"

    figures: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        cohort = workload.write_cohort(Path(folder) / "cohort")
        for repetition in range(repetitions):
            for name in engines:
                click.echo(f"{repetition + 1}/{repetitions}: {name}", err=True)
                timed = flower_rounds if name == "Flower's engine" else rounds
                if name == PFL:
                    figures[name] += _run_pfl(Path(str(pfl_python)), workload, cohort, timed, cores)
                else:
                    figures[name] += _run_ours(name, tokens, cohort, timed, cores)
    _report(workload, figures, skipped, cores)


def _run_ours(name: str, tokens: str, cohort: Path, rounds: int, cores: int) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.simulation_engines", "--measure", name, "--cohort", str(cohort)]
    command += ["--tokens", tokens, "--rounds", str(rounds), "--cores", str(cores)]
    return _figures(command, dict(os.environ))


def _run_pfl(python: Path, workload: Workload, cohort: Path, rounds: int, cores: int) -> list[float]:
    request = {"workload": workload.to_dict(), "cohort": str(cohort), "rounds": rounds, "warm_up": WARM_UP}
    command = [str(python), "-m", "torch.distributed.run", "--nproc_per_node", str(cores)]
    command += [str(ROOT / "benchmarks" / "pfl_loop.py"), json.dumps(request)]
    return _figures(command, {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})


def _figures(command: list[str], environment: dict[str, str]) -> list[float]:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(_MARK):
            return [float(figure) for figure in json.loads(line.removeprefix(_MARK))]
    raise click.ClickException(f"{' '.join(command[:3])} … gave no figures:\n{done.stderr[-2000:]}")


def _report(workload: Workload, figures: dict[str, list[float]], skipped: dict[str, str], cores: int) -> None:
    medians = {name: statistics.median(values) for name, values in figures.items() if values}
    print(
        f"constructed data: {workload.clients} clients of {workload.examples} examples, {workload.clients_a_round} a "
        f"round, batches of {workload.batch_size}, {workload.tokens} tokens a sample; {cores} processes"
    )
    print(f"{'':17s} {'ms a client update':>20s} {'min - max':>16s} {'rounds':>7s} {'x raw':>7s} {'x RayGrid':>10s}")
    for name, median in medians.items():
        values = figures[name]
        ratios = [f"{median / medians[base]:.2f}" if base in medians else "-" for base in ("raw loop", "RayGrid")]
        print(
            f"{name:17s} {median:20.2f} {f'{min(values):.2f} - {max(values):.2f}':>16s} {len(values):7d} "
            f"{ratios[0]:>7s} {ratios[1]:>10s}"
        )
    for name, reason in skipped.items():
        print(f"{name:17s} {reason}")


if __name__ == "__main__":
    main()
