"""Evaluation by the clients, each on rows of its own; the server sees counts, never samples."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import Strategy

from fedaffect.client.cohort import Cohort
from fedaffect.client.metrics import spread, summarise
from fedaffect.client.wire import REFUSED, SPLIT
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.evaluation import has_rows
from fedaffect.server.federation.failures import FailureLimit, RoundFailedError
from fedaffect.server.federation.grid import Nodes, TrainingGrid
from fedaffect.server.federation.robustness.reply_validation import (
    UpdateRejectedError,
    ValidEvaluation,
    read_error,
    read_evaluation,
)
from fedaffect.server.federation.strategies.flower import ChosenNodes, quiet_flower

logger = logging.getLogger(__name__)


def owns_rows(cohort: Cohort, split: str) -> bool:
    """Whether any client is the natural owner of rows of a split."""
    if not has_rows(cohort, split):
        return False
    owners = {cohort.group_names[group] for group in np.unique(cohort.groups[cohort.splits[split]])}
    return not owners.isdisjoint(cohort.client_names)


def evaluate_on_clients(
    grid: TrainingGrid,
    nodes: Nodes,
    strategy: Strategy,
    round_number: int,
    arrays: ArrayRecord,
    config: ConfigRecord,
    split: str,
    clients: Sequence[int],
    cohort: Cohort,
    timeout_s: float,
    limit: FailureLimit,
) -> dict[str, Any]:
    """Ask clients how good parameters are for them.

    Parameters
    ----------
    grid, nodes, strategy
        How they are reached, and who writes Flower's messages.
    round_number : int
    arrays : ArrayRecord
        The parameters.
    config : ConfigRecord
        Names cohort and model.
    split : str
        ``"train"``, or a split of which clients own rows.
    clients : sequence of int
        Partition ids.
    cohort : Cohort
    timeout_s : float
    limit : FailureLimit

    Returns
    -------
    dict
        ``round``, ``split``; ``figures`` over all their rows together; ``clients``, how these spread over clients;
        ``failures``, how many did not answer. Where any has a model of its own, ``personal`` has ``figures`` and
        ``clients`` of what each would use itself, and ``without``, how many have none and use the shared model.

    Raises
    ------
    ConfigError
        If none of them has any row of that split.
    RoundFailedError
        If none of their answers counts.
    TrainingError
        If too many of them fail.
    """
    config[SPLIT] = split
    with quiet_flower():
        messages = list(strategy.configure_evaluate(round_number, arrays, config, ChosenNodes(nodes.of(clients))))
    classes = len(cohort.label_names)
    found: dict[int, ValidEvaluation] = {}
    answered = 0
    silent, broken, refusals = set(clients), [], 0
    for reply in grid.stream(messages, timeout=timeout_s):
        client = nodes.sender(reply)
        silent.discard(client)
        if reply.has_error():
            code, why = read_error(reply)
            refusals += code == REFUSED
            broken += [(client, why)] if code != REFUSED else []
            continue
        try:
            evaluation = read_evaluation(reply, classes)
        except UpdateRejectedError as error:
            logger.warning("client %d's evaluation is not counted: %s", client, error)
            continue
        answered += 1
        if evaluation.confusion.any():
            found[client] = evaluation
    broken += [(client, f"no reply within {timeout_s:g} s") for client in sorted(silent)]
    asked = answered + len(broken) + refusals
    limit.require_few(broken, asked, f"the evaluation of round {round_number}", cohort.client_names)
    if not found and answered < len(messages):
        raise RoundFailedError(f"none of {len(messages)} clients' evaluations counts; use --evaluate server")
    if not found:
        raise ConfigError(f"no client has rows of {split!r} to evaluate on; use --evaluate server")
    # In the order of clients, whatever order they answered in.
    ordered = {client: found[client] for client in sorted(found)}
    told = {
        "round": round_number,
        "split": split,
        **_together(ordered, cohort),
        "failures": len(messages) - answered,
    }
    if any(evaluation.own for evaluation in ordered.values()):
        own = {client: evaluation.own or evaluation for client, evaluation in ordered.items()}
        without = sum(evaluation.own is None for evaluation in ordered.values())
        told["personal"] = {**_together(own, cohort), "without": without}
    return told


def _together(evaluations: Mapping[int, ValidEvaluation], cohort: Cohort) -> dict[str, Any]:
    total = np.sum([evaluation.confusion for evaluation in evaluations.values()], axis=0)
    figures = summarise(total)
    figures["loss"] = sum(e.loss * int(e.confusion.sum()) for e in evaluations.values()) / int(total.sum())
    names = {cohort.client_names[client]: evaluation.confusion for client, evaluation in evaluations.items()}
    return {"figures": figures, "clients": spread(names)}
