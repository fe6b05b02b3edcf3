"""Every client alone: the lower bound that a federation has to beat."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from torch import Tensor

from fedaffect.client.figures import FIGURES
from fedaffect.client.layout import TRUNK
from fedaffect.client.task import ClientTask
from fedaffect.client.wire import (
    ARRAYS,
    CONFIG,
    DIVERGED,
    PARTIAL_AGGREGATION,
    SERVER_ROUND,
    request_config,
    to_record,
)
from fedaffect.edge.errors import DataError, TrainingError
from fedaffect.server.federation.aggregation import wire_bytes
from fedaffect.server.federation.evaluation import TEST, evaluate_split, has_rows
from fedaffect.server.federation.failures import FailureLimit, count_failures
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.memory import PeakMemory
from fedaffect.server.federation.observer import Observer, RoundRecord
from fedaffect.server.federation.robustness.reply_validation import UpdateRejectedError, UpdateValidator, read_error
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.summary import describe_run


@dataclass(slots=True)
class _Tally:
    """What came out of the clients so far; their models are not kept."""

    figures: dict[int, Mapping[str, float]] = field(default_factory=dict)
    losses: list[tuple[float, int]] = field(default_factory=list)
    failures: list[tuple[int, str]] = field(default_factory=list)
    train_seconds: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0


def run_local_only(
    grid: TrainingGrid,
    config: RunSettings,
    cohort_folder: Path,
    run_folder: RunFolder,
    observers: Sequence[Observer],
    task: ClientTask,
    memory: PeakMemory,
    limit: FailureLimit,
    initial: Tensor,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Train each client alone from the same start, for as many epochs as ``rounds`` full rounds, and test each.

    Nothing is averaged, so there are no rounds, no checkpoints and no learning rate that falls over rounds; a
    resumed run starts over. Progress is told after every group of clients, as many as a federated round would have.

    Returns
    -------
    dict
        The summary; ``test`` holds means over clients' models, each tested on the whole test split, and
        ``owners`` how these spread.

    Raises
    ------
    DataError
        If there is no test split.
    TrainingError
        If a client's loss stops being a number, or none finished.
    """
    began = time.perf_counter()
    cohort = task.cohort
    if not has_rows(cohort, TEST):
        raise DataError("--local-only compares clients' models on the test split, which this corpus lacks; use --folds")
    nodes = Nodes.find(grid, cohort.num_clients)
    run_folder.truncate_metrics(0)
    for observer in observers:
        observer.started(config, cohort, task.layout.size)
    size = config.clients_a_round(cohort.num_clients)
    groups = [range(start, min(start + size, cohort.num_clients)) for start in range(0, cohort.num_clients, size)]
    tally, records = _Tally(), []
    for number, clients in enumerate(groups, start=1):
        before = len(tally.failures)
        record = _group(grid, config, cohort_folder, task, nodes, clients, tally, number, began, len(groups), initial)
        limit.require_few(tally.failures[before:], len(clients), f"group {number} of clients", cohort.client_names)
        memory.sample()
        records.append(record.to_dict())
        run_folder.append_metrics(records[-1])
        for observer in observers:
            observer.round_finished(record)
    memory.sample(now=True)
    summary = _summary(config, task, tally, memory)
    summary |= {**about, **count_failures(records)}
    summary["wall_s"] = time.perf_counter() - began
    run_folder.write_summary(summary)
    for observer in observers:
        observer.finished(summary)
    return summary


def _request(config: RunSettings, cohort_folder: Path) -> ConfigRecord:
    train = config.training.train_config(
        local_epochs=config.federation.rounds * config.training.local_epochs,
        keep_optimizer=False,
        max_steps=(config.training.max_steps or 0) * config.federation.rounds,
    )
    settings = {**train.to_record(), PARTIAL_AGGREGATION: False, SERVER_ROUND: 1}
    return request_config(
        cohort_folder, config.model.model, config.model.model_options, config.federation.seed, settings
    )


def _group(
    grid: TrainingGrid,
    config: RunSettings,
    cohort_folder: Path,
    task: ClientTask,
    nodes: Nodes,
    clients: Iterable[int],
    tally: _Tally,
    number: int,
    began: float,
    groups: int,
    initial: Tensor,
) -> RoundRecord:
    start = time.perf_counter()
    before = len(tally.figures), len(tally.failures), tally.train_seconds
    tally.losses.clear()
    content = RecordDict(
        {
            ARRAYS: to_record(task.layout, initial),
            CONFIG: _request(config, cohort_folder),
        }
    )
    messages = [Message(content, node, MessageType.TRAIN) for node in nodes.of(clients)]
    tally.bytes_down = wire_bytes(content)
    waiting = time.perf_counter()
    silent = set(clients)
    for reply in grid.stream(messages, timeout=config.time.round_timeout_s):
        tally.train_seconds += time.perf_counter() - waiting
        silent.discard(nodes.sender(reply))
        _test(reply, nodes.sender(reply), task, tally)
        waiting = time.perf_counter()
    tally.failures += [(client, f"no reply within {config.time.round_timeout_s:g} s") for client in sorted(silent)]
    done, failed = len(tally.figures) - before[0], len(tally.failures) - before[1]
    seconds, elapsed = time.perf_counter() - start, time.perf_counter() - began
    examples = sum(count for _, count in tally.losses)
    train_seconds = max(tally.train_seconds - before[2], 1e-9)
    return RoundRecord(
        round=number,
        clients=done,
        failures=failed,
        train_loss=sum(loss * count for loss, count in tally.losses) / examples if examples else None,
        lr=config.training.lr,
        dev=None,
        updates_per_second=done / train_seconds,
        bytes_up=tally.bytes_up * done,
        bytes_down=tally.bytes_down * (done + failed),
        train_seconds=train_seconds,
        seconds=seconds,
        elapsed_s=elapsed,
        eta_s=(groups - number) * elapsed / number,
        first_failure=tally.failures[0][1] if tally.failures else None,
    )


def _test(reply: Message, client: int, task: ClientTask, tally: _Tally) -> None:
    if reply.has_error():
        code, reason = read_error(reply)
        if code == DIVERGED:
            raise TrainingError(f"client {task.cohort.client_names[client]!r} alone: {reason}")
        tally.failures.append((client, reason))
        return
    try:
        update = UpdateValidator(task.layout).read(reply)
    except UpdateRejectedError as error:
        tally.failures.append((client, str(error)))
        return
    tally.bytes_up = tally.bytes_up or wire_bytes(reply.content)
    tally.losses.append((update.train_loss, update.counts[TRUNK]))
    tally.figures[client] = evaluate_split(task, cast(Tensor, update.arrays), TEST).figures


def _rule(config: RunSettings) -> str:
    """What each client did, in words, as it is not what the same settings mean for a federation."""
    # One message holds one learning rate, and all of a client's epochs are one message.
    rate = f"a constant learning rate of {config.training.lr:g}"
    if config.training.lr_schedule != "constant":
        rate += f" (the {config.training.lr_schedule} schedule falls over rounds, which a client alone has none of)"
    epochs = config.federation.rounds * config.training.local_epochs
    return (
        f"each client trained {epochs} epochs alone with {rate}, and its model after the "
        f"last epoch was tested on the whole test split, none chosen on the development split; figures are means over "
        f"clients, and as each test sample has one answer from every client, there are no predictions to pair by sample"
    )


def _summary(config: RunSettings, task: ClientTask, tally: _Tally, memory: PeakMemory) -> dict[str, Any]:
    if not tally.figures:
        raise TrainingError(f"no client finished: {tally.failures[0][1] if tally.failures else 'none replied in time'}")
    clients = sorted(tally.figures)
    columns = {name: np.array([tally.figures[client][name] for client in clients]) for name in FIGURES}
    test: dict[str, Any] = {name: float(values.mean()) for name, values in columns.items()}
    tenth = max(1, round(len(clients) / 10))
    test["owners"] = {
        "clients": len(clients),
        **{f"{name}_mean": float(columns[name].mean()) for name in ("accuracy", "uar")},
        **{f"{name}_std": float(columns[name].std()) for name in ("accuracy", "uar")},
        **{f"{name}_worst_decile": float(np.sort(columns[name])[:tenth].mean()) for name in ("accuracy", "uar")},
        "each": [
            {
                "name": task.cohort.client_names[client],
                "examples": len(task.cohort.rows_of(client)),
                "accuracy": tally.figures[client]["accuracy"],
                "uar": tally.figures[client]["uar"],
            }
            for client in clients
        ],
    }
    return {
        **describe_run(config, task.cohort, task.layout.size),
        "clients_per_round": config.clients_a_round(task.cohort.num_clients),
        "test": test,
        "test_views": {},
        "dev": None,
        "best_round": config.federation.rounds,
        "best_round_rule": "each client alone, after its last epoch",
        "local_only_rule": _rule(config),
        "client_updates": len(clients),
        "client_updates_per_second": len(clients) / max(tally.train_seconds, 1e-9),
        "bytes_up_per_client_update": tally.bytes_up,
        "bytes_down_per_client_update": tally.bytes_down,
        "peak_rss_mb": round(memory.peak_mb, 1),
        "about": dict(task.cohort.about),
    }
