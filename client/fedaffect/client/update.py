"""What a client answers to one round, and what it keeps: what may leave, by the privacy mechanism of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import Cohort
from fedaffect.client.layout import Values, as_array, like
from fedaffect.client.privacy.client_level import clip_update
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.edge.errors import TrainingError


@dataclass(frozen=True, slots=True)
class ClientState:
    """What a client keeps between rounds, such as SCAFFOLD's control variate.

    Parameters
    ----------
    round : int
        The round that left it.
    tensors : mapping of str to Values
    """

    round: int
    tensors: Mapping[str, Values]


@dataclass(frozen=True, slots=True)
class Update:
    """A client's answer to one round.

    Parameters
    ----------
    weights : Values, shape (P,)
        Its trained parameters, of those that are shared.
    counts : mapping of str to int
        Training examples, in all (``""``) and by stream; the weights of averaging.
    metrics : mapping of str to float
        ``train_loss`` (mean over steps), ``steps``; under privacy only what may leave.
    state : ClientState, optional
        To be kept for the next round.
    extra : mapping of str to Values, shape (P,)
        Sent beside the parameters.
    """

    weights: Values
    counts: Mapping[str, int]
    metrics: Mapping[str, float]
    state: ClientState | None = None
    extra: Mapping[str, Values] = field(default_factory=dict)


def plain_update(
    cohort: Cohort,
    rows: NDArray[np.int64],
    weights: Values,
    *,
    loss_sum: float,
    steps: int,
    about: str,
    state: ClientState | None = None,
    extra: Mapping[str, Values] | None = None,
) -> Update:
    """An update without a privacy mechanism.

    Parameters
    ----------
    cohort : Cohort
    rows : int64 array, shape (N,)
        The client's training rows.
    weights : Values, shape (P,)
        On the CPU.
    loss_sum : float
        Mean losses of its steps, summed.
    steps : int
    about : str
        Client, round and learning rate, for a message.
    state, extra
        As in :class:`Update`.

    Raises
    ------
    TrainingError
        If the loss stopped being a number.
    """
    mean_loss = loss_sum / steps
    if not math.isfinite(mean_loss):
        raise TrainingError(f"the loss of {about} is not a number; lower --lr")
    metrics = {"train_loss": mean_loss, "steps": float(steps)}
    return Update(weights, cohort.counts(rows), metrics, state, extra or {})


def private_update(
    cohort: Cohort,
    rows: NDArray[np.int64],
    weights: Values,
    *,
    steps: int,
    about: str,
    state: ClientState | None = None,
    extra: Mapping[str, Values] | None = None,
) -> Update:
    """Noisy parameters, and nothing that was read off the examples past their number.

    Parameters and errors are those of :func:`plain_update`.
    """
    if not np.isfinite(as_array(weights)).all():
        raise TrainingError(f"noisy training of {about} left numbers; lower --lr")
    # Which modalities a client offers is public, how many of its examples have each is not.
    counts = {name: len(rows) if count else 0 for name, count in cohort.counts(rows).items()}
    return Update(weights, counts, {"steps": float(steps)}, state, extra or {})


def clipped_update(
    cohort: Cohort, privacy: PrivacyConfig, start: Values, weights: Values, state: ClientState | None = None
) -> Update:
    """What a client gives towards a noisy sum: every client weighs the same, in every part of the model.

    Parameters
    ----------
    cohort : Cohort
    privacy : PrivacyConfig
    start, weights : Values, shape (P,)
        As the round began, and trained; on one device.
    state : ClientState, optional
        To be kept for the next round.
    """
    clipped, within = clip_update(start, weights, privacy.clip_norm)
    counts = {"": 1, **dict.fromkeys(cohort.tables, 1)}
    return Update(like(start, as_array(clipped)), counts, {"within-clip": float(within)}, state)
