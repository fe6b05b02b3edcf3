"""Membership inference: whether a trained model tells who was in its training.

Loss threshold (Yeom et al. 2018), and LiRA (Carlini et al., "Membership Inference Attacks From First Principles", S&P
2022), whose measure is the rate of true positives where one in a thousand non-members is taken for a member.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.privacy_attacks.canaries import random_cohort

FALSE_POSITIVES = 1e-3


@dataclass(frozen=True, slots=True)
class MembershipResult:
    """What two attacks get.

    Parameters
    ----------
    loss_tpr, lira_tpr : float
        True positives at one false positive in a thousand; chance is a thousandth.
    loss_auc, lira_auc : float
        Chance that a member looks more like one than a non-member; guessing gives one half.
    models, examples : int
    train_accuracy, held_out_accuracy : float
        Of the attacked models, on members and on non-members.
    """

    loss_tpr: float
    lira_tpr: float
    loss_auc: float
    lira_auc: float
    models: int
    examples: int
    train_accuracy: float
    held_out_accuracy: float


def attack_membership(
    config: TrainConfig,
    *,
    examples: int = 400,
    models: int = 16,
    seed: int = 0,
) -> MembershipResult:
    """Train models on random halves, attack each with the others as shadows, and pool the guesses.

    Parameters
    ----------
    config : TrainConfig
        How they train, with or without privacy.
    examples : int
        Constructed ones with a weak signal.
    models : int
        At least 4.
    seed : int
    """
    if models < 4:
        raise ConfigError(f"{models} models give no distribution to compare with; use --models 4 or more")
    rng = np.random.default_rng([seed, 3])
    with tempfile.TemporaryDirectory(prefix="fedaffect-audit-") as scratch:
        rows = np.arange(examples)
        base = Cohort.load(random_cohort(Path(scratch) / "all", examples, rows, seed, signal=3.0))
        # Each example is in half of the models.
        members = np.stack([rng.permutation(models) < models // 2 for _ in rows], axis=1)  # (models, n)
        confidences = np.empty((models, len(rows)))
        right = np.empty((models, len(rows)), bool)
        for place in range(models):
            folder = Path(scratch) / f"model{place}"
            _with_members(base, rows[members[place]]).save(folder)
            confidences[place], right[place] = _train(ClientTask(folder, "linear"), config, rows, seed + place)
    loss = confidences  # more confident is a lower loss
    lira = np.stack([_lira(confidences, members, target) for target in range(models)])
    return MembershipResult(
        loss_tpr=tpr_at(loss, members),
        lira_tpr=tpr_at(lira, members),
        loss_auc=_auc(loss, members),
        lira_auc=_auc(lira, members),
        models=models,
        examples=len(rows),
        train_accuracy=float(right[members].mean()),
        held_out_accuracy=float(right[~members].mean()),
    )


def _with_members(base: Cohort, rows: NDArray[np.int64]) -> Cohort:
    """The same examples, some of them held by one client."""
    return replace(
        base,
        client_offsets=np.array([0, len(rows)], dtype=np.int64),
        client_rows=rows,
        splits={},
        client_names=("members",),
    )


def _train(
    task: ClientTask, config: TrainConfig, rows: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logit-scaled confidence in the true label of each example (Carlini et al., equation 6), and who is right."""
    weights = task.train(task.initial_weights(seed), config, client=0, round=1, seed=seed).weights
    made = task.evaluate(weights, rows)
    p = made.probabilities[np.arange(len(rows)), made.labels].astype(np.float64)
    p = np.clip(p, 1e-7, 1 - 1e-7)
    return np.log(p) - np.log1p(-p), made.predictions == made.labels


def _lira(confidences: NDArray[np.float64], members: NDArray[np.bool_], target: int) -> NDArray[np.float64]:
    """Log likelihood ratio of in against out for each example, from the other models' Gaussians."""
    others = np.arange(len(confidences)) != target
    values, inside = confidences[others], members[others]
    ratios = np.zeros(values.shape[1])
    # One variance for all examples, as the paper does where shadows are few.
    spread = {flag: max(1e-3, float(_residuals(values, inside == flag).std())) for flag in (True, False)}
    for flag, sign in ((True, 1.0), (False, -1.0)):
        chosen = inside == flag
        mean = np.where(chosen, values, 0.0).sum(0) / np.maximum(1, chosen.sum(0))
        z = (confidences[target] - mean) / spread[flag]
        ratios += sign * (-0.5 * z * z - np.log(spread[flag]))
    return ratios


def _residuals(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    mean = np.where(chosen, values, 0.0).sum(0) / np.maximum(1, chosen.sum(0))
    residuals: NDArray[np.float64] = (values - mean)[chosen]
    return residuals


def tpr_at(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
    """Share of members above the threshold that at most this share of non-members passes."""
    outside = np.sort(scores[~members])
    passing = int(np.floor(FALSE_POSITIVES * len(outside)))
    threshold = outside[len(outside) - 1 - passing]
    return float((scores[members] > threshold).mean())


def _auc(scores: NDArray[np.float64], members: NDArray[np.bool_]) -> float:
    from scipy.stats import mannwhitneyu

    inside, outside = scores[members], scores[~members]
    return float(mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside)))


def training(epsilon: float | None) -> TrainConfig:
    """The training that the command attacks: long enough to learn by heart, with or without privacy."""
    privacy = None if epsilon is None else PrivacyConfig(epsilon=epsilon, participations=1)
    return TrainConfig(lr=0.5, batch_size=50, local_epochs=20, privacy=privacy)
