"""One point of the curve: the same client code, noise and accounting as every run, in one process."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.models.head import BIAS_FEATURE
from fedaffect.client.privacy.accounting import PRV, Spending, epsilon
from fedaffect.client.privacy.centring import CentredBudget
from fedaffect.client.privacy.noise import SecureNoise
from fedaffect.client.privacy.plan import private_plan
from fedaffect.client.privacy.settings import LOCAL, PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.server.federation.privacy.central import CentralPrivacy
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.privacy_curve.probe import Projected, centred

# Larger than any client: each step is over all of a client's examples, and few steps are affordable.
_WHOLE = 1 << 14
# Of a client's budget, for its mean; on development rows anything from 0.1 to 0.3 was as good.
_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Point:
    """Settings of one training.

    Parameters
    ----------
    unit : {"utterance", "client"}
    epsilon : float
        Infinite for training without clipping or noise.
    width : int
        Of the features.
    rounds : int
        All clients take part in each.
    lr : float
    clip_norm : float
        Of example gradients, or of client updates.
    momentum : float
        Of the server, on whatever noisy mean comes.
    """

    unit: str
    epsilon: float
    width: int
    rounds: int
    lr: float
    clip_norm: float = 1.0
    momentum: float = 0.9
    delta: float = 1e-5


def train(data: Projected, point: Point, seed: int) -> dict[str, float]:
    """Train a head, and its UAR on the development and the test split.

    Scores are corrected by the class frequencies of the development split, which is the server's (Menon et al. 2021):
    clients' own class counts are covered by no budget. Where clients are centred and one utterance is protected, the
    mean is paid for; with one client as the unit all that a client does with its own rows is.

    Returns
    -------
    dict
        ``dev``, ``test`` (UAR), ``epsilon`` spent, ``noise_multiplier`` (the least of any client's).
    """
    with tempfile.TemporaryDirectory(prefix="fedaffect-curve-") as scratch:
        budget = _centring(data, point)
        cohort = centred(data, budget.of_mean if budget else 0.0, SecureNoise())
        cohort.save(Path(scratch) / "cohort")
        task = ClientTask(Path(scratch) / "cohort", "head")
        counts = np.bincount(cohort.labels[cohort.splits["dev"]], minlength=len(cohort.label_names))
        prior: NDArray[np.float64] = counts.astype(np.float64) + 1.0
        weights, spent, multiplier = _federate(task, point, seed, Path(scratch), prior, budget)
        return {
            "dev": _uar(task, weights, "dev", prior),
            "test": _uar(task, weights, "test", prior),
            "epsilon": spent,
            "noise_multiplier": multiplier,
        }


def _federate(
    task: ClientTask,
    point: Point,
    seed: int,
    folder: Path,
    prior: NDArray[np.float64],
    budget: CentredBudget | None,
) -> tuple[torch.Tensor, float, float]:
    weights = task.initial_weights(seed)
    # What is known without asking a client: how frequent classes are on the server's own rows.
    bias = torch.from_numpy(np.log(prior / prior.sum()) / BIAS_FEATURE).float()
    weights.view(len(prior), -1)[:, -1] = bias
    velocity = torch.zeros_like(weights)
    clients = range(task.cohort.num_clients)
    central = _central(task, point, folder)
    privacy = _privacy(point, central, budget)
    local_epochs = 5 if point.unit == "client" else 1
    config = TrainConfig(batch_size=_WHOLE, lr=point.lr, local_epochs=local_epochs, privacy=privacy)
    for number in range(1, point.rounds + 1):
        sums = FixedPointSum(task.layout)
        for client in clients:
            update = task.train(weights, config, client, number, seed, copy=False)
            sums.add(update.weights, update.counts)
        mean = sums.mean(weights)
        if central is not None:
            total = (mean - weights) * len(clients)
            central.add_noise(number, total)
            mean = weights + total / len(clients)
        velocity = point.momentum * velocity + (mean - weights)
        weights = weights + velocity
    if central is not None:
        return weights, central.accountant.epsilon(point.rounds, PRV), central.noise_multiplier
    if privacy is None:
        return weights, math.inf, 0.0
    if budget is not None:
        return weights, epsilon(budget.spendings, point.delta, PRV), budget.of_step
    spent: list[Spending] = []
    for client in clients:
        plan = private_plan(privacy, len(task.cohort.rows_of(client)), _WHOLE, 1, 0)
        spent.append(Spending(plan.noise_multiplier, plan.sample_rate, plan.steps * point.rounds))
    worst = max(epsilon((one,), point.delta, PRV) for one in set(spent))
    return weights, worst, min(one.noise_multiplier for one in spent)


def _centring(data: Projected, point: Point) -> CentredBudget | None:
    """How an utterance's budget is split between a client's mean and the steps; None where the mean costs nothing."""
    if data.between is None or point.unit != "utterance" or math.isinf(point.epsilon):
        return None
    return CentredBudget.within(point.epsilon, point.delta, point.rounds, _SHARE, PRV)


def _privacy(point: Point, central: CentralPrivacy | None, budget: CentredBudget | None) -> PrivacyConfig | None:
    if central is not None:
        return central.client_settings()
    if math.isinf(point.epsilon):
        return None
    return PrivacyConfig(
        kind=LOCAL,
        clip_norm=point.clip_norm,
        epsilon=point.epsilon,
        delta=point.delta,
        participations=point.rounds,
        accountant=PRV,
        noise_multiplier=budget.of_step if budget else 0.0,
    )


def _central(task: ClientTask, point: Point, folder: Path) -> CentralPrivacy | None:
    if point.unit != "client" or math.isinf(point.epsilon):
        return None
    clients = task.cohort.num_clients
    config = RunSettings.of(
        dp="central",
        epsilon=point.epsilon,
        delta=point.delta,
        rounds=point.rounds,
        clip_norm=point.clip_norm,
        accountant=PRV,
    )
    return CentralPrivacy(config, task.layout, clients, clients, folder)


def _uar(task: ClientTask, weights: torch.Tensor, split: str, prior: NDArray[np.float64]) -> float:
    result = task.evaluate(weights, task.cohort.splits[split])
    answers = (np.log(np.maximum(result.probabilities, 1e-12)) - np.log(prior / prior.sum())).argmax(axis=1)
    recalls = [(answers[result.labels == c] == c).mean() for c in np.unique(result.labels)]
    return float(np.mean(recalls))
