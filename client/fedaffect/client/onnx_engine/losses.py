"""The losses of :mod:`fedaffect.client.losses` as inputs of the training step's one form of loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.onnx_engine.graph import ClassScores

Rows = NDArray[np.float32]
# As in `fedaffect.client.losses`.
_SMOOTHING = 0.1
_BETA = 0.999


def class_scores(loss: str, counts: NDArray[np.int64], scale: float = 1.0) -> ClassScores:
    """What a loss makes of class scores before the softmax.

    Parameters
    ----------
    loss : str
        A name of :data:`fedaffect.client.loss_names.LOSS_NAMES`.
    counts : int64 array, shape (C,)
        The client's training examples by class.
    scale : float
        FedRS's alpha, by which scores of classes without examples are multiplied; 1 for none.
    """
    bias = np.zeros(len(counts), np.float32)
    if loss == "balanced":
        prior = np.maximum(counts.astype(np.float32), np.float32(0.5))
        bias = np.log(prior / prior.sum())
    factors = np.where(counts > 0, np.float32(1), np.float32(scale))
    return ClassScores(factors, bias, focal=loss == "focal")


def targets_of(loss: str, labels: NDArray[np.int64], soft: Rows | None, counts: NDArray[np.int64]) -> tuple[Rows, Rows]:
    """Targets (B, C) of a batch, and the weights (B,) with which its losses are summed to their mean.

    Parameters
    ----------
    loss : str
    labels : int64 array, shape (B,)
    soft : float32 array, shape (B, C), optional
        Class probabilities in their place.
    counts : int64 array, shape (C,)
        The client's training examples by class.
    """
    examples, classes = len(labels), len(counts)
    targets = np.eye(classes, dtype=np.float32)[labels] if soft is None else soft.astype(np.float32)
    mean = np.full(examples, 1 / examples, np.float32)
    if loss == "smoothed":
        targets = targets * np.float32(1 - _SMOOTHING) + np.float32(_SMOOTHING / classes)
    if loss == "weighted":
        effective = (1 - _BETA ** np.maximum(counts, 1).astype(np.float64)) / (1 - _BETA)
        weights = (1 / effective) * classes / (1 / effective).sum()
        targets = (targets * weights).astype(np.float32)
        if soft is None:
            # Torch divides by the sum of the weights of the classes that are there, and by B where they are shares.
            mean = np.full(examples, 1 / weights[labels].sum(), np.float32)
    return targets, mean
