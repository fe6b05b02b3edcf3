"""Whole cohorts at once against the same clients one after the other.

    python -m benchmarks.cohort_training --device cuda

Clients of 32 examples take two steps of 16 on the cross-modal transformer of 1.1 M parameters, three tokens a sample,
from parameters on the CPU to updates on the CPU. Constructed data. With one thread on a CPU, where both ways multiply
the same matrices, cohorts are not expected to gain; the goal of 20 times is a GPU's. ``--floor`` says why, by where
each way's time goes: what is left of it when products and passes over parameters are taken away is all that a cohort
could save.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.workload import Workload
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.stacked.training import CohortTrainer
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.update import Update

ALONE, TOGETHER = "one after the other", "a cohort at once"
# By what torch's operators are called.
_KINDS = {
    "products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "scaled_dot_product"),
    "passes over parameters": ("_fused_adamw", "_foreach_", "_fused_sgd", "aten::copy_", "aten::add_", "aten::mul_"),
}
PRIVACIES = {
    "without privacy": None,
    "--dp local": PrivacyConfig(noise_multiplier=1.0),
    "--dp central": PrivacyConfig(kind="central"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--cohort-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--floor", action="store_true", help="where the time of each way goes, without privacy")
    parser.add_argument("--tokens", type=int, choices=(3, 50), default=3, help="tokens of a sample")
    args = parser.parse_args()
    torch.set_num_threads(1)
    workload = Workload(tokens=args.tokens, clients=args.clients, clients_a_round=args.clients)
    where = torch.cuda.get_device_name() if args.device == "cuda" else "one core"
    print(f"{args.clients} clients, {args.cohort_size} at once, {args.tokens} tokens, {where}; ms a client, median")
    with tempfile.TemporaryDirectory() as scratch:
        task = ClientTask(
            workload.write_cohort(Path(scratch) / "cohort"), "cmt", workload.model_options, device=args.device
        )
        if args.floor:
            for name, kinds in floor(task, args.clients, args.cohort_size).items():
                print(f"{name:20s}", "   ".join(f"{kind} {ms:6.2f}" for kind, ms in kinds.items()))
            return
        for name, privacy in PRIVACIES.items():
            ways = compare(task, TrainConfig(privacy=privacy), args.clients, args.cohort_size, args.repeats)
            alone, together = ways[ALONE], ways[TOGETHER]
            ratio = float(np.median(np.array(alone) / np.array(together)))
            medians = f"alone {statistics.median(alone):8.2f}   at once {statistics.median(together):8.2f}"
            print(f"{name:18s} {medians}   x {ratio:6.2f}")


def compare(task: ClientTask, config: TrainConfig, clients: int, size: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds a client of each way and round, in turns, after a warming turn."""
    seconds = measure(both_ways(task, config, clients, size), repeats)
    return {way: [1e3 * each / clients for each in values] for way, values in seconds.items()}


def both_ways(task: ClientTask, config: TrainConfig, clients: int, size: int) -> dict[str, Callable[[], None]]:
    """All clients of a round, each way."""
    weights, trainer = task.initial_weights(0), CohortTrainer(task)

    def alone() -> None:
        for client in range(clients):
            task.train(weights, config, client, 1, 0, copy=False)

    def together() -> None:
        for start in range(0, clients, size):
            updates = trainer.train(weights, config, range(start, min(start + size, clients)), 1, 0)
            if not all(isinstance(update, Update) for update in updates):
                raise SystemExit(f"a client failed: {updates}")

    return {ALONE: alone, TOGETHER: together}


def floor(task: ClientTask, clients: int, size: int) -> dict[str, dict[str, float]]:
    """Milliseconds a client of each way, on a CPU: in products, in passes over parameters, in other operators.

    What is left of the whole is Python between operators, and the profiler.
    """
    found = {}
    for name, way in both_ways(task, TrainConfig(), clients, size).items():
        way()
        began = time.perf_counter()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            way()
        whole = 1e6 * (time.perf_counter() - began)
        kinds = {"products": 0.0, "passes over parameters": 0.0, "other operators": 0.0}
        for one in profile.key_averages():
            kind = next((kind for kind, parts in _KINDS.items() if any(part in one.key for part in parts)), "")
            kinds[kind or "other operators"] += one.self_cpu_time_total
        kinds["between"] = whole - sum(kinds.values())
        found[name] = {kind: us / 1e3 / clients for kind, us in kinds.items()} | {"whole": whole / 1e3 / clients}
    return found


def measure(ways: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
