"""Weighted sums whose result does not depend on the order of adding.

Floating-point addition is not associative, so a mean over clients would change with the number of actors,
with a restart, or with where partial sums were folded. In int64 every order gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.edge.errors import TrainingError

FRACTION_BITS = 32
_SCALE = float(2**FRACTION_BITS)
# Sum of weight x |value| that still fits into 63 bits.
_LIMIT = float(2 ** (62 - FRACTION_BITS))


class FixedPointSum:
    """Sum over clients of weight x parameters, in units of 2^-32.

    Each term is weighted in float32, which rounds it as float32 always does, and cut to a whole number of units;
    from there on nothing is lost. Weights are integers (counts of examples).

    Parameters
    ----------
    layout : ArrayLayout
        Order and groups of the parameters.
    """

    def __init__(self, layout: ArrayLayout) -> None:
        self.layout = layout
        self.total = torch.zeros(layout.size, dtype=torch.int64)
        self.weights: dict[str, int] = {group: 0 for group, _ in layout.groups}
        self.count = 0
        self._reach = 0.0
        self._groups = layout.groups
        self._scaled = torch.empty(layout.size, dtype=torch.float32)
        self._integers = torch.empty(layout.size, dtype=torch.int64)

    def add(self, flat: Tensor, weights: Mapping[str, int], clients: int = 1) -> None:
        """Add one client's parameters.

        Parameters
        ----------
        flat : Tensor of float32, shape (P,)
            Its parameters, or update.
        weights : mapping of str to int
            Weight of each group; ``""`` is the trunk's, and that of groups not named.
        clients : int
            Who share the sum's room.

        Raises
        ------
        TrainingError
            If a value is not finite, or so large that the sum could overflow.
        """
        self._reach = self.require_room(flat, weights, clients)
        for group, run in self._groups:
            weight = int(weights.get(group, weights[""]))
            if weight:
                torch.mul(flat[run], weight * _SCALE, out=self._scaled[run])
                self._integers[run].copy_(self._scaled[run])
                self.total[run].add_(self._integers[run])
        for group in self.weights:
            self.weights[group] += int(weights.get(group, weights[""]))
        self.count += 1

    def require_room(self, flat: Tensor, weights: Mapping[str, int], clients: int = 1) -> float:
        """How far the sum could reach with these parameters too.

        Parameters
        ----------
        flat, weights
            As :meth:`add` takes them.
        clients : int
            Who share the room: none may take more than its part, or one that claims many examples leaves nothing.

        Raises
        ------
        TrainingError
            As :meth:`add`, which does not change the sum then.
        """
        # The 2-norm bounds the largest magnitude in one pass, and is NaN or infinite if any value is.
        own = math.sqrt(float(flat.dot(flat))) * max(weights.values())
        reach = self._reach + own
        if not (reach < _LIMIT and own < _LIMIT / clients):
            raise TrainingError("a client's parameters, or these times its examples, are huge; lower the learning rate")
        return reach

    def require_sound(self, clients: int, asked: int, most: int) -> None:
        """Check a sum that somebody else made against what one over some clients can be.

        Parameters
        ----------
        clients : int
            How many it may be over.
        asked : int
            Who share the room of the sum that it becomes a part of.
        most : int
            Largest weight of a client.

        Raises
        ------
        TrainingError
            If it is not finite, takes more than their part of the room, or weighs more than they can.
        """
        # Of sums of rounded terms.
        room = _LIMIT * min(1.0, clients / max(asked, 1)) * (1 + 1e-9)
        if not (0 <= self._reach < _LIMIT and self._reach <= room):
            raise TrainingError(f"a partial sum reaches to {self._reach:g}, and has room for {room:g}")
        if not all(0 <= weight <= clients * most for weight in self.weights.values()):
            raise TrainingError(f"a partial sum has weights that no {clients} clients have")
        if not 0 <= self.count <= clients:
            raise TrainingError(f"a partial sum counts {self.count} of {clients} clients")
        # Each term is rounded in float32, and cut.
        largest = int(self._reach * (1 + 1e-5) * _SCALE) + self.count
        if len(self.total) and not -largest <= int(self.total.min()) <= int(self.total.max()) <= largest:
            raise TrainingError("a partial sum has values beyond its reach")

    def require_room_for(self, other: FixedPointSum) -> None:
        """Raise a `TrainingError` if another partial sum would make this one overflow."""
        if not self._reach + other._reach < _LIMIT:
            raise TrainingError("the sum of all clients' parameters overflows; lower the learning rate")

    def merge(self, other: FixedPointSum) -> None:
        """Add another partial sum of the same layout; one that would overflow raises, and nothing has changed."""
        self.require_room_for(other)
        self.total.add_(other.total)
        for group, weight in other.weights.items():
            self.weights[group] += weight
        self.count += other.count
        self._reach += other._reach

    def mean(self, fallback: Tensor) -> Tensor:
        """The weighted mean.

        Parameters
        ----------
        fallback : Tensor of float32, shape (P,)
            Kept where a group's weights sum to zero: nobody had that modality.

        Returns
        -------
        Tensor of float32, shape (P,)
        """
        mean = fallback.detach().clone()
        for group, run in self._groups:
            if self.weights[group]:
                mean[run] = (self.total[run].double() / (_SCALE * self.weights[group])).float()
        return mean

    def to_arrays(self) -> dict[str, NDArray[np.int64] | NDArray[np.float64]]:
        """Everything needed to rebuild this sum elsewhere."""
        return {
            "total": self.total.numpy(),
            "weights": np.array([self.weights[g] for g in sorted(self.weights)], dtype=np.int64),
            "count": np.array([self.count], dtype=np.int64),
            "reach": np.array([self._reach], dtype=np.float64),
        }

    @classmethod
    def from_arrays(cls, layout: ArrayLayout, arrays: Mapping[str, NDArray[Any]]) -> FixedPointSum:
        """Rebuild a sum from :meth:`to_arrays`."""
        rebuilt = cls.__new__(cls)
        rebuilt.layout = layout
        rebuilt._groups = layout.groups  # noqa: SLF001 - its own class
        rebuilt.total = torch.from_numpy(np.array(arrays["total"], dtype=np.int64))
        if rebuilt.total.shape != (layout.size,):
            raise TrainingError(f"a partial sum has {rebuilt.total.numel()} values, the model has {layout.size}")
        names = sorted({group for group, _ in layout.groups})
        rebuilt.weights = dict(zip(names, (int(w) for w in arrays["weights"]), strict=True))
        rebuilt.count = int(arrays["count"][0])
        rebuilt._reach = float(arrays["reach"][0])  # noqa: SLF001 - its own class
        rebuilt._scaled = torch.empty(layout.size, dtype=torch.float32)  # noqa: SLF001 - its own class
        rebuilt._integers = torch.empty(layout.size, dtype=torch.int64)  # noqa: SLF001 - its own class
        return rebuilt
