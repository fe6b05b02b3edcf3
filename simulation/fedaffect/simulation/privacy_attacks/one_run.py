"""One training run against its claim: an empirical lower bound of epsilon from many canaries at once.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023. Each canary is in the training
data by a coin; an attacker who sees every update guesses the coins. Theorem 5.2 bounds how often a run within
(epsilon, delta) lets guesses be right; guesses that are right more often refute the claim.

The attacker here is the server of ``--dp local``: it knows every canary, computes its gradient at the weights it sent,
and solves for who is in the sum that came back.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from fedaffect.client.cohort import Batch
from fedaffect.client.losses import EXAMPLE_LOSSES
from fedaffect.client.privacy.clipping import FastClippedSum
from fedaffect.client.privacy.plan import private_plan
from fedaffect.client.privacy.settings import LOCAL, SEEDED, PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.privacy_attacks.canaries import random_cohort

# With the dropout that models come with: private training must not need it to be off.
_MODEL_OPTIONS = {"width": 16, "heads": 2, "layers": 1, "feedforward": 32}


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What one run says about its claim.

    Parameters
    ----------
    claimed : float
        Epsilon of the training, infinite without noise.
    lower_bound : float
        Epsilon that the guesses prove, at ``confidence``.
    delta, confidence : float
    canaries, guesses, right : int
        How many there were, how many the attacker dared to guess, and how many of these were right.
    seed : int
    """

    claimed: float
    lower_bound: float
    delta: float
    confidence: float
    canaries: int
    guesses: int
    right: int
    seed: int

    @property
    def refuted(self) -> bool:
        """Whether the training spent more than it claims."""
        return self.lower_bound > self.claimed


def chance_of_guesses(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Largest chance that a run within (epsilon, delta) lets this many guesses be right: theorem 5.2.

    Parameters
    ----------
    canaries : int
        m, each in by a fair coin.
    guesses, right : int
        r and v, v <= r <= m.
    """
    accuracy = 1.0 / (1.0 + math.exp(-epsilon))  # of randomised response
    tail = float(stats.binom.sf(right - 1, guesses, accuracy))
    # The delta part: the largest of P[v - i <= Binomial < v] / i.
    below = stats.binom.pmf(np.arange(right - 1, -1, -1), guesses, accuracy).cumsum()
    worst = float((below / np.arange(1, right + 1)).max()) if right else 0.0
    return min(1.0, tail + 2 * canaries * delta * worst)


def epsilon_lower_bound(canaries: int, guesses: int, right: int, delta: float, confidence: float) -> float:
    """The largest epsilon that guesses this good refute, 0 where they refute none."""
    doubt = 1.0 - confidence
    if chance_of_guesses(canaries, guesses, right, 0.0, delta) > doubt:
        return 0.0
    low, high = 0.0, 1.0
    while chance_of_guesses(canaries, guesses, right, high, delta) <= doubt:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        if chance_of_guesses(canaries, guesses, right, middle, delta) <= doubt:
            low = middle
        else:
            high = middle
    return low


def audit_one_run(
    epsilon: float,
    *,
    canaries: int = 400,
    guesses: int = 100,
    rounds: int = 4,
    delta: float = 1e-5,
    confidence: float = 0.95,
    seed: int = 0,
    noise: str = SEEDED,
    understate: float = 1.0,
) -> AuditResult:
    """Train one client on coin-flipped canaries, attack every update, and bound epsilon from below.

    Parameters
    ----------
    epsilon : float
        Claimed; infinite turns the noise off.
    canaries : int
        m, constructed at random: labels do not follow from features, so that each pulls its own way.
    guesses : int
        How many of the clearest canaries are guessed, half as in and half as out; fixed beforehand.
    rounds : int
        Updates that the attacker sees, each one step over all examples, which is where least hides.
    delta, confidence : float
    seed : int
        Of canaries, coins and, where ``noise`` is seeded, noise.
    noise : {"seeded", "secure"}
    understate : float
        Audit a training with this share of the noise it ought to have, to see that the audit would notice.

    Raises
    ------
    ConfigError
        If fewer canaries than guesses are asked for.
    """
    if not 2 <= guesses <= canaries:
        raise ConfigError(f"{guesses} guesses need as many canaries, not {canaries}; raise --canaries")
    coins = np.random.default_rng([seed, 1]).random(canaries) < 0.5
    privacy = PrivacyConfig(kind=LOCAL, epsilon=epsilon, delta=delta, participations=rounds, noise=noise)
    plan = private_plan(privacy, int(coins.sum()), canaries, 1, 1)
    if plan.noise_multiplier and understate != 1.0:
        privacy = PrivacyConfig(
            kind=LOCAL, epsilon=epsilon, delta=delta, noise_multiplier=plan.noise_multiplier * understate, noise=noise
        )
    with tempfile.TemporaryDirectory(prefix="fedaffect-audit-") as scratch:
        folder = random_cohort(Path(scratch) / "cohort", canaries, np.flatnonzero(coins), seed)
        scores = _attack(ClientTask(folder, "cmt", _MODEL_OPTIONS), privacy, canaries, rounds, seed)
    right = _right_guesses(scores, coins, guesses)
    bound = epsilon_lower_bound(canaries, guesses, right, delta, confidence)
    return AuditResult(epsilon, bound, delta, confidence, canaries, guesses, right, seed)


def _attack(task: ClientTask, privacy: PrivacyConfig, canaries: int, rounds: int, seed: int) -> NDArray[np.float64]:
    """How much of each canary is in the updates, shape (m,)."""
    lr = 0.1
    config = TrainConfig(lr=lr, batch_size=canaries, max_steps=1, privacy=privacy)
    weights = task.initial_weights(seed)
    scores = np.zeros(canaries)
    for round in range(1, rounds + 1):
        gradients = clipped_gradients(task, weights, privacy.clip_norm, np.arange(canaries))
        trained = task.train(weights, config, client=0, round=round, seed=seed).weights
        total = (weights - trained) * (len(task.cohort.rows_of(0)) / lr)  # the noisy sum
        scores += _shares(gradients, total)
        weights = trained
    return scores


def clipped_gradients(task: ClientTask, weights: Tensor, clip_norm: float, rows: NDArray[np.int64]) -> Tensor:
    """What each example alone would send, before noise, shape (n, P)."""
    task._flat.copy_(weights)  # noqa: SLF001 - an attack looks inside
    task.model.train()
    clipped = FastClippedSum(task.model, "flat", clip_norm)
    made = torch.empty(len(rows), task.layout.size)
    for place, row in enumerate(rows):
        batch = task.cohort.gather(np.array([row]), train=True)

        def forward(batch: Batch = batch) -> Tensor:
            return EXAMPLE_LOSSES["cross-entropy"](task.model(batch.tokens, batch.present), batch.labels)

        clipped(forward, made[place])
    return made


def _shares(gradients: Tensor, total: Tensor) -> NDArray[np.float64]:
    """Ridge regression of a noisy sum on everybody's gradients: near 1 for who is in it, near 0 for who is not."""
    g = gradients.double()
    gram = g @ g.t()  # (m, m)
    gram += 1e-3 * gram.diagonal().mean() * torch.eye(len(g), dtype=torch.float64)
    shares: NDArray[np.float64] = torch.linalg.solve(gram, g @ total.double()).numpy()
    return shares


def _right_guesses(scores: NDArray[np.float64], coins: NDArray[np.bool_], guesses: int) -> int:
    order = np.argsort(scores, kind="stable")
    out, inside = order[: guesses // 2], order[len(order) - (guesses - guesses // 2) :]
    return int((~coins[out]).sum() + coins[inside].sum())
