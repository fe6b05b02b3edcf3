"""Losses by name; those for classes of unequal size take the client's own class counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from fedaffect.edge.errors import unknown_name

# (scores (B, C), targets: classes (B,) or probabilities (B, C), class counts (C,)) -> scalar
Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
# (scores (B, C), targets, class counts of each example's client (B, C)) -> losses (B,)
StackedLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(scores: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Mean negative log-likelihood."""
    return functional.cross_entropy(scores, targets)


def smoothed(scores: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy with a tenth of the mass spread over all classes (Szegedy et al. 2016)."""
    return functional.cross_entropy(scores, targets, label_smoothing=0.1)


def weighted(scores: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy with class weights by the effective number of examples, beta 0.999 (Cui et al. 2019)."""
    beta = 0.999
    effective = (1 - beta ** counts.clamp(min=1.0)) / (1 - beta)
    weights = 1 / effective
    return functional.cross_entropy(scores, targets, weight=weights * len(weights) / weights.sum())


def focal(scores: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Focal loss, gamma 2: easy examples count less (Lin et al. 2017, equation 4)."""
    logs = functional.log_softmax(scores, dim=-1)
    if targets.dtype == torch.int64:
        targets = functional.one_hot(targets, scores.shape[-1]).to(scores.dtype)
    return -(targets * (1 - logs.exp()) ** 2 * logs).sum(-1).mean()


def balanced(scores: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Balanced softmax: the client's own class prior is added to the scores (Ren et al. 2020, equation 4).

    The shared model then learns what is the same everywhere, not who has which labels; it predicts as if
    all classes were equally frequent, which is what unweighted average recall asks for. Absent classes count
    as half an example.
    """
    prior = counts.clamp(min=0.5)
    return functional.cross_entropy(scores + (prior / prior.sum()).log(), targets)


LOSSES: Mapping[str, Loss] = {
    "cross-entropy": cross_entropy,
    "smoothed": smoothed,
    "weighted": weighted,
    "focal": focal,
    "balanced": balanced,
}


def loss_function(name: str) -> Loss:
    """The loss of that name.

    Raises
    ------
    ConfigError
        If there is none, listing those that exist.
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]


def _cross_entropy_each(scores: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(scores, targets, reduction="none")


def _smoothed_each(scores: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(scores, targets, label_smoothing=0.1, reduction="none")


def _focal_each(scores: Tensor, targets: Tensor) -> Tensor:
    logs = functional.log_softmax(scores, dim=-1)
    if targets.dtype == torch.int64:
        targets = functional.one_hot(targets, scores.shape[-1]).to(scores.dtype)
    return -(targets * (1 - logs.exp()) ** 2 * logs).sum(-1)


# (scores (B, C), targets) -> losses (B,), each of its own example alone, as privacy for single examples needs. The
# others weigh an example by how many of its class the client has.
EXAMPLE_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": _cross_entropy_each,
    "smoothed": _smoothed_each,
    "focal": _focal_each,
}


def _balanced_each(scores: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    prior = counts.clamp(min=0.5)
    return functional.cross_entropy(scores + (prior / prior.sum(dim=-1, keepdim=True)).log(), targets, reduction="none")


def stacked_losses(name: str) -> StackedLoss | None:
    """The loss of that name for the examples of several clients, whose mean over a client's examples is its loss.

    Parameters
    ----------
    name : str

    Returns
    -------
    callable or None
        None where the loss is no such mean.
    """
    if name == "balanced":
        return _balanced_each
    if name not in EXAMPLE_LOSSES:
        return None
    each = EXAMPLE_LOSSES[name]
    return lambda scores, targets, counts: each(scores, targets)
