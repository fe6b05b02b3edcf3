"""Which utterances of a cohort belong together, and how a batch of whole dialogues says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# What a model's ``unit`` may be: what is gathered into a batch as a whole.
UTTERANCE: Final = "utterance"
DIALOGUE: Final = "dialogue"


@dataclass(frozen=True, slots=True)
class Turns:
    """How the U utterances of a batch make D dialogues of at most L turns, with P parties in one at most.

    Parameters
    ----------
    places : Tensor of int64, shape (D, L)
        Which utterance is said in each turn, 0..U-1; -1 behind a dialogue's end.
    parties : Tensor of int64, shape (D, L)
        Who says it, 0..P-1, numbered in the order in which they first speak; 0 behind the end.
    asked : Tensor of int64, shape (B,)
        Those that are asked about, as places in a (D L,) view of ``places``. The others are heard only.
    """

    places: Tensor
    parties: Tensor
    asked: Tensor

    def to(self, device: torch.device | str) -> Turns:
        """The same on another device."""
        return Turns(self.places.to(device), self.parties.to(device), self.asked.to(device))


@dataclass(frozen=True)
class Dialogues:
    """Dialogue, turn and speaker of each row of a cohort.

    Parameters
    ----------
    ids : int64 array, shape (N,)
        Below 0 where an utterance belongs to none: it is then a dialogue of its own.
    turns : int64 array, shape (N,)
        Place in the dialogue; gaps do not matter.
    speakers : int64 array, shape (N,)
    """

    ids: NDArray[np.int64]
    turns: NDArray[np.int64]
    speakers: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The dialogue of each row, shape (n,); those of none have numbers of their own."""
        return self._keys[rows]

    def take(self, rows: NDArray[np.int64]) -> Dialogues:
        """Those of some rows, in that order."""
        return Dialogues(self.ids[rows], self.turns[rows], self.speakers[rows])

    def whole(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Turns]:
        """All utterances of the dialogues of some rows.

        Parameters
        ----------
        rows : int64 array, shape (B,)

        Returns
        -------
        rows : int64 array, shape (U,)
            Dialogue by dialogue, each in its order.
        turns : Turns
            With these rows' own places as those that are asked about.
        """
        import torch

        keys, dialogue = np.unique(self._keys[rows], return_inverse=True)
        starts = np.searchsorted(self._sorted, keys, side="left")
        lengths = np.searchsorted(self._sorted, keys, side="right") - starts
        steps = np.arange(int(lengths.max(initial=1)))
        there = steps < lengths[:, None]  # (D, L)
        utterances = self._order[(starts[:, None] + steps)[there]]
        places = np.full(there.shape, -1, np.int64)
        places[there] = np.arange(len(utterances))
        parties = np.zeros(there.shape, np.int64)
        parties[there] = self._parties[utterances]
        asked = dialogue * there.shape[1] + self._rank[rows] - starts[dialogue]
        return utterances, Turns(torch.from_numpy(places), torch.from_numpy(parties), torch.from_numpy(asked))

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        alone = self.ids < 0
        own = int(self.ids.max(initial=-1)) + 1 + np.arange(len(self.ids))
        return np.where(alone, own, self.ids)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Rows by dialogue and turn."""
        return np.lexsort((np.arange(len(self.turns)), self.turns, self._keys))

    @cached_property
    def _sorted(self) -> NDArray[np.int64]:
        return self._keys[self._order]

    @cached_property
    def _rank(self) -> NDArray[np.int64]:
        """Where each row stands in that order."""
        rank = np.empty_like(self._order)
        rank[self._order] = np.arange(len(rank))
        return rank

    @cached_property
    def _parties(self) -> NDArray[np.int64]:
        """Of each row, its speaker's number in its dialogue, by first turn."""
        parties = np.zeros(len(self.ids), np.int64)
        known: dict[int, int] = {}
        before = -1
        for row, key in zip(self._order.tolist(), self._sorted.tolist(), strict=True):
            if key != before:
                known, before = {}, key
            parties[row] = known.setdefault(int(self.speakers[row]), len(known))
        return parties


def shuffled_batches(
    rows: NDArray[np.int64], units: NDArray[np.int64] | None, size: int, order: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Rows in batches, in an order that each call draws.

    Parameters
    ----------
    rows : int64 array, shape (n,)
    units : int64 array, shape (n,), optional
        What stays together: a batch then has whole units, and is full with ``size`` rows or more.
    size : int
    order : Generator
    """
    if units is None:
        shuffled = rows[order.permutation(len(rows))]
        for place in range(0, len(shuffled), size):
            yield shuffled[place : place + size]
        return
    ids, unit = np.unique(units, return_inverse=True)
    for places in batches_of_units(order.permutation(len(ids))[unit], size):
        yield rows[places]


def batches_of_units(units: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Places of whole units, lowest unit first, ``size`` or more at a time."""
    places = np.argsort(units, kind="stable")
    begin = 0
    for end in (np.flatnonzero(np.diff(units[places])) + 1).tolist():
        if end - begin >= size:
            yield places[begin:end]
            begin = end
    if begin < len(places):
        yield places[begin:]
