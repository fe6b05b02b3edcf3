"""The floor: the same training in plain PyTorch, one resident process a core, no federation framework.

Each process holds all data in memory as tensors, loads the round's parameters with one copy, trains, and adds
the result to a running sum; the parent averages the processes' sums in shared memory. No messages, no metrics,
no seeds, no errors caught: what a careful person would write for this one workload.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor
from torch.nn import functional

from benchmarks.workload import Workload
from fedaffect.client.cohort import Cohort
from fedaffect.client.models.registry import build_model
from fedaffect.simulation.grid.freed_memory import keep_freed_memory


@dataclass(frozen=True)
class _Shared:
    """Memory that the parent and one child see."""

    weights: Tensor
    total: Tensor
    clients: Tensor


def measure(workload: Workload, cohort_folder: Path, rounds: int, warm_up: int, processes: int) -> list[float]:
    """Milliseconds a client update, one figure a timed round."""
    context = multiprocessing.get_context("spawn")
    size = sum(p.numel() for p in _model(workload, Cohort.load(cohort_folder)).parameters())
    weights = _shared_zeros(size)
    most = workload.clients_a_round
    shared = [_Shared(weights, _shared_zeros(size), _shared_zeros(most + 1, torch.int64)) for _ in range(processes)]
    barrier = context.Barrier(processes + 1)
    total_rounds = rounds + warm_up
    children = [
        context.Process(target=_child, args=(workload, cohort_folder, s, barrier, total_rounds, k == 0), daemon=True)
        for k, s in enumerate(shared)
    ]
    for child in children:
        child.start()
    barrier.wait()
    rng = np.random.default_rng(0)
    figures = []
    for _ in range(total_rounds):
        began = time.perf_counter()
        chosen = rng.choice(workload.clients, size=workload.clients_a_round, replace=False)
        for part, s in zip(np.array_split(chosen, processes), shared, strict=True):
            s.clients[0] = len(part)
            s.clients[1 : len(part) + 1] = torch.from_numpy(part)
        barrier.wait()
        barrier.wait()
        mean = sum((s.total for s in shared), start=torch.zeros(size))
        weights.copy_(mean / (workload.clients_a_round * workload.examples))
        figures.append((time.perf_counter() - began) * 1e3 / workload.clients_a_round)
    for child in children:
        child.join()
    return figures[warm_up:]


def _model(workload: Workload, cohort: Cohort) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model("cmt", cohort.widths, len(cohort.label_names), workload.model_options)


def _child(workload: Workload, cohort_folder: Path, shared: _Shared, barrier: Any, rounds: int, first: bool) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    cohort = Cohort.load(cohort_folder)
    tokens = {
        stream: torch.from_numpy(np.array(table.tokens)).view(-1, int(table.offsets[1]), table.width)
        for stream, table in cohort.tables.items()
    }
    labels = torch.from_numpy(np.array(cohort.train_labels))
    rows_of = [torch.from_numpy(np.array(cohort.rows_of(k))) for k in range(cohort.num_clients)]
    present = {s: torch.ones(workload.batch_size, t.shape[1], dtype=torch.bool) for s, t in tokens.items()}

    model = _model(workload, cohort)
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    start = 0
    for parameter in model.parameters():
        parameter.data = flat[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
    if first:
        shared.weights.copy_(flat)
    optimizer = torch.optim.SGD(model.parameters(), workload.lr, fused=True)
    model.train()
    barrier.wait()

    for _ in range(rounds):
        barrier.wait()
        shared.total.zero_()
        weights = shared.weights.clone()
        for client in shared.clients[1 : int(shared.clients[0]) + 1].tolist():
            flat.copy_(weights)
            rows: Tensor = rows_of[client]
            order = rows[torch.randperm(len(rows))]
            for batch in _batches(order, workload.batch_size):
                scores = model({s: t[batch] for s, t in tokens.items()}, present)
                functional.cross_entropy(scores, labels[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            shared.total.add_(flat, alpha=len(rows))
        barrier.wait()


def _batches(rows: Tensor, size: int) -> Sequence[Tensor]:
    parts: Sequence[Tensor] = rows.split(size)  # type: ignore[no-untyped-call]
    return parts


def _shared_zeros(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(size, dtype=dtype).share_memory_()  # type: ignore[no-untyped-call, no-any-return]
