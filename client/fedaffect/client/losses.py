"""Losses by name; those for classes of unequal size take the client's own class counts.

A model in training may answer more than once, with scores of shape (A, B, C): the first answer is its own, the others
are those of its parts, which then learn alone as well. The loss is that of the first plus the mean of the others'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from fedaffect.client.loss_names import checked_loss

# (scores (B, C), targets: classes (B,) or probabilities (B, C), class counts (C,)) -> scalar
Loss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
# (scores (B, C), targets, class counts of each example's client (B, C)) -> losses (B,)
StackedLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


def _of_every_answer(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss of scores (B, C) as one of scores (A, B, C) too: l_1 + mean(l_2, ..., l_A)."""

    @wraps(loss)
    def of(scores: Tensor, *others: Tensor) -> Tensor:
        if scores.dim() == 2:
            return loss(scores, *others)
        first, *parts = [loss(answer, *others) for answer in scores]
        return first + torch.stack(parts).mean(dim=0) if parts else first

    return of


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
    "cross-entropy": _of_every_answer(cross_entropy),
    "smoothed": _of_every_answer(smoothed),
    "weighted": _of_every_answer(weighted),
    "focal": _of_every_answer(focal),
    "balanced": _of_every_answer(balanced),
}


def loss_function(name: str) -> Loss:
    """The loss of that name.

    Raises
    ------
    ConfigError
        If there is none, listing those that exist.
    """
    return LOSSES[checked_loss(name)]


@_of_every_answer
def concordance_loss(said: Tensor, meant: Tensor | None) -> Tensor:
    """1 - Lin's concordance coefficient of each rating over the batch, averaged over ratings; 0 without any.

    Blind to the scale of a rating, unlike a squared error. A batch in which a rating does not vary says nothing of it.

    Parameters
    ----------
    said : Tensor, shape (B, R), or (A, B, R) of several answers
    meant : Tensor, shape (B, R), optional
        NaN where nobody rated.
    """
    if meant is None:
        return said.new_zeros(())
    rated, x, y = _where_rated(said, meant)
    count = rated.sum(dim=0).clamp(min=1)  # (R,)
    apart = ((x - y).sum(dim=0) / count) ** 2
    x, y = (torch.where(rated, side - side.sum(dim=0) / count, 0.0) for side in (x, y))
    concordance = 2 * (x * y).sum(dim=0) / ((x**2 + y**2).sum(dim=0) + count * apart + 1e-6)
    return torch.where(rated.any(dim=0), 1 - concordance, 0.0).mean()


@_of_every_answer
def squared_error(said: Tensor, meant: Tensor | None) -> Tensor:
    """Squared error of each example, averaged over its ratings, shape (B,); 0 where it has none.

    Parameters
    ----------
    said : Tensor, shape (B, R), or (A, B, R) of several answers
    meant : Tensor, shape (B, R), optional
        NaN where nobody rated.
    """
    if meant is None:
        return said.new_zeros(())
    rated, x, y = _where_rated(said, meant)
    return ((x - y) ** 2).sum(dim=1) / rated.sum(dim=1).clamp(min=1)


def _where_rated(said: Tensor, meant: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where somebody rated (B, R), and both sides with 0 where nobody did."""
    rated = meant.isfinite()
    return rated, torch.where(rated, said, 0.0), torch.where(rated, meant, 0.0)


# (said (B, R) or (A, B, R), meant (B, R) or None) -> scalar
RATING_LOSSES: Mapping[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "ccc": concordance_loss,
    "mse": lambda said, meant: squared_error(said, meant).mean(),
}


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
    "cross-entropy": _of_every_answer(_cross_entropy_each),
    "smoothed": _of_every_answer(_smoothed_each),
    "focal": _of_every_answer(_focal_each),
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
        return _of_every_answer(_balanced_each)
    if name not in EXAMPLE_LOSSES:
        return None
    each = EXAMPLE_LOSSES[name]
    return lambda scores, targets, counts: each(scores, targets)
