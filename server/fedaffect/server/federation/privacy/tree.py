"""Tree aggregation: noise on prefix sums that needs no sampling (Kairouz et al., "Practical and Private (Deep) Learning
without Sampling or Shuffling", ICML 2021), for fleets, where devices choose themselves.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
from torch import Tensor

from fedaffect.client.privacy.noise import Grid, NoiseSource, SecureNoise, SeededNoise
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.files import write_whole


def tree_sensitivity(rounds: int, participations: int, separation: int) -> float:
    """Root of the sum of squares by which one client may change all nodes of the tree, each update within norm 1.

    On a level whose nodes cover w rounds, a client that takes part k times, at least ``separation`` rounds apart, puts
    at most m = min(k, ceil(w / separation)) updates into one node and k into all of them, so that the squares add up to
    k m at most.

    Parameters
    ----------
    rounds : int
        Leaves of the tree.
    participations : int
        k, most rounds of one client.
    separation : int
        Least number of rounds from one participation to the next; 1 where nothing is known.
    """
    levels = max(1, math.ceil(math.log2(rounds + 1)))
    k = min(participations, rounds)
    return math.sqrt(sum(k * min(k, math.ceil(2**level / separation)) for level in range(levels)))


def covering_nodes(rounds: int) -> list[int]:
    """Nodes whose sums add up to the first ``rounds`` rounds: one for each bit, numbered as in a Fenwick tree."""
    nodes = []
    while rounds:
        nodes.append(rounds)
        rounds &= rounds - 1
    return nodes


class TreeNoise:
    """The noise of each node, made again whenever it is needed from a key that stays on the server.

    Whoever has the key can take the noise off, so it lies in a file of its owner's alone and goes when the run ends.

    Parameters
    ----------
    key : bytes
        32 bytes.
    seed : int, optional
        Seeded noise instead, for tests.
    """

    def __init__(self, key: bytes, seed: int | None = None) -> None:
        self._key = key
        self._seed = seed

    def increment(self, round: int, size: int, grid: Grid) -> Tensor:
        """What round ``round`` adds to the noise of the running sum, in whole units, shape (P,)."""
        now, before = set(covering_nodes(round)), set(covering_nodes(round - 1))
        total = torch.zeros(size)
        for node in now - before:
            total += self._node(node, size, grid)
        for node in before - now:
            total -= self._node(node, size, grid)
        return total

    def _node(self, node: int, size: int, grid: Grid) -> Tensor:
        source: NoiseSource = SecureNoise(self._key, node) if self._seed is None else SeededNoise(self._seed + node)
        noise = torch.empty(size)
        source.gaussians(noise, grid.deviation / grid.unit)
        return noise.round_()


def noise_key(path: Path) -> bytes:
    """The key in this file; a new one where there is none.

    Raises
    ------
    RunError
        If it cannot be kept: a resumed run could not take its former noise into account.
    """
    try:
        if path.is_file():
            return path.read_bytes()
        key = os.urandom(32)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, key, private=True, durable=True)
        return key
    except OSError as error:
        raise RunError(f"the noise's key {path} cannot be kept ({error.strerror}); make room") from error
