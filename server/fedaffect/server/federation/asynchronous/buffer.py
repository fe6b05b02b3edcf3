"""The buffer of FedBuff: updates of any age, weighted down as they age."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fedaffect.client.layout import TRUNK, ArrayLayout


@dataclass(frozen=True, slots=True)
class BufferedUpdate:
    """One client's update in the buffer.

    Parameters
    ----------
    start : int
        Number of its start within the run.
    client : int
        Partition id.
    version : int
        Of the parameters that it trained from.
    change : Tensor of float32, shape (P,)
        Trained less start.
    counts : mapping of str to int
        Training examples, in all (``""``) and by stream.
    loss : float
    """

    start: int
    client: int
    version: int
    change: Tensor
    counts: Mapping[str, int]
    loss: float


def staleness_weight(staleness: int) -> float:
    """``1 / sqrt(1 + s)``, for an update from parameters that are s versions old.

    Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation" (2022), section 5.
    """
    return 1.0 / math.sqrt(1.0 + staleness)


def empty_buffer(layout: ArrayLayout, current: Tensor, updates: Sequence[BufferedUpdate], version: int) -> Tensor:
    """The next parameters: ``w + 1/K sum_i s(version - version_i) change_i``, algorithm 1 of FedBuff.

    All clients count alike. An adapter's mean is over those that had its modality: others never trained it.

    Parameters
    ----------
    layout : ArrayLayout
    current : Tensor of float32, shape (P,)
        The newest parameters.
    updates : sequence of BufferedUpdate
        In any order: they are summed by the number of their start.
    version : int
        The newest.

    Returns
    -------
    Tensor of float32, shape (P,)
    """
    total = torch.zeros(layout.size, dtype=torch.float64)
    holders = {group: 0 for group, _ in layout.groups}
    for update in sorted(updates, key=lambda one: one.start):
        weight = staleness_weight(version - update.version)
        for group in holders:
            holders[group] += update.counts.get(group, update.counts[TRUNK]) > 0
        for group, run in layout.groups:
            if update.counts.get(group, update.counts[TRUNK]) > 0:
                total[run] += weight * update.change[run].double()
    fresh = current.clone()
    for group, run in layout.groups:
        if holders[group]:
            fresh[run] = (current[run].double() + total[run] / holders[group]).float()
    return fresh
