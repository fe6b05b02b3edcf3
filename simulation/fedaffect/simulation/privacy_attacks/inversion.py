"""Gradient inversion on the fusion layer: what one update tells of the tokens behind it.

A linear layer's gradient is sum_t g_t x_t^T: its rows lie in the span of what went in (Geiping et al. 2020, section 3;
Zhu and Blum 2021). With one example in the batch, the adapters' gradients give back the standardised tokens of each
modality exactly where there is one, and their span where there are more, without any search. No stronger attack is
needed to see whether an update is bare, and none is implemented here.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.simulation.privacy_attacks.canaries import random_cohort

_LR = 0.1
_OPTIONS = {"dropout": 0.0, "token_dropout": 0.0}


@dataclass(frozen=True, slots=True)
class InversionResult:
    """How much of the tokens an attacker gets back.

    Parameters
    ----------
    recovered : float
        Mean share of a token's energy within the span that the update's adapter gradients show; 1 is all of it.
    chance : float
        What a random span of as many dimensions holds.
    cosine : float or None
        Mean cosine of the token and its reconstruction, where each modality has one token.
    examples, tokens : int
    """

    recovered: float
    chance: float
    cosine: float | None
    examples: int
    tokens: int


def invert_updates(
    privacy: PrivacyConfig | None, *, examples: int = 8, tokens: int = 1, seed: int = 0
) -> InversionResult:
    """Take one step on one example at a time, and read its tokens off the update.

    Parameters
    ----------
    privacy : PrivacyConfig, optional
        None for a bare update.
    examples : int
        Constructed; each is attacked alone.
    tokens : int
        Of each modality.
    seed : int
    """
    shares, cosines, chances = [], [], []
    for place in range(examples):
        with tempfile.TemporaryDirectory(prefix="fedaffect-audit-") as scratch:
            folder = random_cohort(Path(scratch) / "c", examples, np.array([place]), seed, tokens)
            task = ClientTask(folder, "cmt", _OPTIONS)
        weights = task.initial_weights(seed)
        config = TrainConfig(lr=_LR, batch_size=1, max_steps=1, privacy=privacy)
        update = task.train(weights, config, client=0, round=1, seed=seed)
        gradient = task.layout.unflatten((weights - update.weights) / _LR)
        batch = task.cohort.gather(np.array([place]), train=True)
        for stream, values in batch.tokens.items():
            truth = torch.nn.functional.layer_norm(values[0], values.shape[-1:])  # (T, W)
            rows = torch.from_numpy(np.array(gradient[f"adapters.{stream}.project.weight"]))  # (D, W)
            bias = torch.from_numpy(np.array(gradient[f"adapters.{stream}.project.bias"]))  # (D,)
            shares.append(_energy_within(truth, rows))
            chances.append(tokens / truth.shape[1])
            if tokens == 1:
                cosines.append(_cosine(truth[0], rows.t() @ bias))
    return InversionResult(
        recovered=float(np.mean(shares)),
        chance=float(np.mean(chances)),
        cosine=float(np.mean(cosines)) if cosines else None,
        examples=examples,
        tokens=tokens,
    )


def _energy_within(truth: Tensor, rows: Tensor) -> float:
    """Share of the tokens' energy in the span of the gradient's first T right singular vectors."""
    _, _, directions = torch.linalg.svd(rows.double(), full_matrices=False)
    span = directions[: len(truth)]  # (T, W)
    inside = (truth.double() @ span.t()).square().sum()
    return float(inside / truth.double().square().sum())


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))
