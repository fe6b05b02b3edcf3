"""Centred clipping over buckets of clients: no update counts for more than a step of usual length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import ARRAYS, from_record, to_record

# Sets these draws apart from others that a run derives from the same seed.
_STREAM = 0xB0C4E7


def bucket_means(changes: Tensor, size: int, generator: np.random.Generator) -> Tensor:
    """Means over disjoint random buckets of clients; the last may hold fewer.

    Karimireddy, He and Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing" (2022), algorithm
    1: means of s clients differ less between each other than clients do, which is what robust rules go by, while a
    share a of attackers spoils at most a share ``s a`` of buckets.

    Parameters
    ----------
    changes : Tensor of float32, shape (n, P)
    size : int
        s; 1 leaves clients alone.
    generator : Generator
        Shuffles them.

    Returns
    -------
    Tensor of float32, shape (ceil(n / s), P)
    """
    if size <= 1 or len(changes) <= size:
        return changes
    order = torch.from_numpy(generator.permutation(len(changes)))
    return torch.stack([changes[some].mean(0) for some in torch.split(order, size)])


def centred_clip(changes: Tensor, radius: float, iterations: int, drop: float = 0.0) -> Tensor:
    """A mean that nobody can pull further than the radius over n.

    Karimireddy, He and Jaggi, "Learning from History for Byzantine Robust Optimization" (2021), equation 6:
    ``v <- v + 1/n sum_i (x_i - v) min(1, radius / |x_i - v|)``. They begin at the round before; where clients train
    for whole epochs rounds differ too much for that, so that v begins at the coordinates' median, and a radius not
    given is the median distance from it: as far as a usual client is away. Those furthest from v can be left out
    altogether: clipped, an attacker still takes a share of every step, and against it.

    Parameters
    ----------
    changes : Tensor of float32, shape (n, P)
    radius : float
        0 for the median distance.
    iterations : int
    drop : float
        Share of updates, the furthest, that do not count; below a half.

    Returns
    -------
    Tensor of float32, shape (P,)
    """
    centre = changes.median(0).values
    for _ in range(iterations):
        away = changes - centre
        distances = away.norm(dim=1)
        within = radius or float(distances.median())
        near = distances.argsort(stable=True)[: len(changes) - int(drop * len(changes))]
        clipped = away * (within / distances.clamp_min(1e-12)).clamp_max(1.0)[:, None]
        centre = centre + clipped[near].mean(0)
    return centre


class CentredClipping(FedAvg):
    """A strategy for clients that differ, some of which may be malicious. All clients count alike.

    Parameters
    ----------
    radius : float
        How far an update may be from the centre; 0 adapts it every round.
    iterations : int
    drop : float
        Share of updates, the furthest, that do not count.
    bucket : int
        Clients that are averaged before.
    seed : int
        The run's; decides with the round who shares a bucket.
    **kwargs
        Flower's.
    """

    def __init__(self, *, radius: float, iterations: int, drop: float, bucket: int, seed: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._radius, self._iterations, self._drop = radius, iterations, drop
        self._bucket, self._seed = bucket, seed
        self._start: ArrayRecord | None = None

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Remember what clients begin from."""
        self._start = arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The new parameters from single replies, in the order of their clients."""
        answered = [reply for reply in replies if reply.has_content()]
        if not answered or self._start is None:
            return None, None
        layout = ArrayLayout(tuple(self._start), tuple(tuple(array.shape) for array in self._start.values()))
        start = from_record(layout, self._start)
        changes = torch.stack([from_record(layout, reply.content.array_records[ARRAYS]) - start for reply in answered])
        generator = np.random.default_rng([_STREAM, self._seed, server_round])
        buckets = bucket_means(changes, self._bucket, generator)
        centre = centred_clip(buckets, self._radius, self._iterations, self._drop)
        return to_record(layout, start + centre), None
