"""What requests cost, learned while answering them, and how much of it one batch should hold."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp
from typing import Final

# Weight of a new measurement in a running mean.
_NEW: Final = 0.1
_MEMORY_S: Final = 2.0
_MOST_TRIES: Final = 20
_CHANCE: Final = 1 / 3
_LASTING: Final = 1 / 2
# A larger batch has to be this much cheaper a request to be preferred: with it, everybody in it waits longer.
_GAIN: Final = 0.05
_EXPLORE_EVERY: Final = 16
_ENOUGH: Final = 3
_FIRST: Final = 8


class RunningMean:
    """Exponentially weighted, exact over its first measurements."""

    def __init__(self) -> None:
        self.value = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        """Take in a measurement."""
        self.count += 1
        self.value += (value - self.value) * max(_NEW, 1 / self.count)


class Fullness:
    """The share of the last seconds during which requests were turned away, and what follows from it.

    It is of time, not of requests: who asks again a hundred times a second while one place is missing makes no
    overload of it.
    """

    def __init__(self) -> None:
        self._share = 0.0
        self._refusing = False
        self._since_s = 0.0

    @property
    def overload(self) -> float:
        """From 0, where the queue is full for a third of the time at most (chance does that), to 1, where for half."""
        return min(1.0, max(0.0, (self._share - _CHANCE) / (_LASTING - _CHANCE)))

    @property
    def tries(self) -> float:
        """How often somebody who comes at any time has to ask until they are let in, in the mean; 20 at most."""
        return 1 / max(1 - self._share, 1 / _MOST_TRIES)

    def observe(self, now_s: float, *, refused: bool) -> None:
        """Take in what happened to a request, or that a worker has nothing to do.

        Parameters
        ----------
        now_s : float
            Seconds, by a clock that does not jump.
        refused : bool
            Whether it was turned away.
        """
        self._share += (self._refusing - self._share) * (1 - exp((self._since_s - now_s) / _MEMORY_S))
        self._refusing, self._since_s = refused, now_s


class CostModel:
    """Seconds of compute for a request, from its length in each modality.

    Attributes
    ----------
    request_s : float
        Mean over requests; 0 before the first.
    batch_s : float
        Mean over batches.
    """

    def __init__(self) -> None:
        self._per_unit: dict[str, RunningMean] = {}
        self._reference: dict[str, float] = {}
        self._request = RunningMean()
        self._batch = RunningMean()

    @property
    def known(self) -> bool:
        """Whether anything has been measured."""
        return self._request.count > 0

    @property
    def request_s(self) -> float:
        """Mean seconds of compute a request."""
        return self._request.value

    @property
    def batch_s(self) -> float:
        """Mean seconds a batch."""
        return self._batch.value

    def estimate_s(self, cost: Mapping[str, int]) -> float:
        """Seconds that a request will take.

        Parameters
        ----------
        cost : mapping of str to int
            Length by modality: tokens, frames or pictures.
        """
        known = [self._per_unit[kind].value * units for kind, units in cost.items() if kind in self._per_unit]
        # A modality not measured yet is taken for an average request.
        return sum(known) + self.request_s * (len(known) < len(cost))

    def reference_s(self, cost: Mapping[str, int]) -> float:
        """As :meth:`estimate_s`, by the rates of the first batches, which later ones do not move.

        Batches of different sizes are compared by it: a rate that fell because batches became large would make every
        size look alike.
        """
        return sum(self._reference[kind] * units for kind, units in cost.items() if kind in self._reference)

    def observe(self, costs: Mapping[str, int], seconds: Mapping[str, float], requests: int) -> None:
        """Learn from a batch.

        Parameters
        ----------
        costs : mapping of str to int
            Length by modality, all its requests together.
        seconds : mapping of str to float
            How long each modality took; may hold what belongs to no modality.
        requests : int
            At least 1.
        """
        for kind, units in costs.items():
            if units > 0 and kind in seconds:
                rate = self._per_unit.setdefault(kind, RunningMean())
                rate.add(seconds[kind] / units)
                if rate.count <= _FIRST:
                    self._reference[kind] = rate.value
        total = sum(seconds.values())
        self._request.add(total / requests)
        self._batch.add(total)


class BatchBudget:
    """How many requests' worth of work a batch should hold, found by trying.

    On a GPU a batch of sixteen costs little more than one request. On a processor whose cores are busy anyway it costs
    sixteen times as much and makes all sixteen wait, so there the budget stays at one.

    Parameters
    ----------
    largest : int
        Never more.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._relative: dict[int, RunningMean] = {}
        self._size = 1
        self._batches = 0

    @property
    def size(self) -> int:
        """Mean requests' worth of work that a batch should hold."""
        return self._size

    def next_size(self, waiting: int) -> int:
        """For the batch about to be made: the best size known, now and then the next one up.

        Parameters
        ----------
        waiting : int
            Requests in the queue; a larger size is tried only where it could be filled.
        """
        self._batches += 1
        above = 2 * self._size
        if self._batches % _EXPLORE_EVERY == 0 and above <= min(self._largest, waiting):
            return above
        return self._size

    def observe(self, requests: int, estimated_s: float, seconds: float) -> None:
        """Learn from a batch.

        Parameters
        ----------
        requests : int
            In it.
        estimated_s : float
            What they were thought to take, each by itself; 0 where nothing was known.
        seconds : float
            What they took together.
        """
        if estimated_s <= 0:
            return
        size = 1 << (requests.bit_length() - 1)
        self._relative.setdefault(size, RunningMean()).add(seconds / estimated_s)
        best, cheapest = 1, float("inf")
        for candidate, mean in sorted(self._relative.items()):
            if mean.count >= _ENOUGH and mean.value < cheapest * (1 - _GAIN):
                best, cheapest = candidate, mean.value
        self._size = best
