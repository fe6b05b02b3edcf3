"""Samples of different lengths in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# A batch may carry this share of padding; with more, the shorter samples go by themselves.
_WASTE: Final = 0.15


def bucket(length: int, step: int) -> int:
    """The length that a sequence is padded to: the next multiple of ``step``, coarser as it grows.

    Multiples of ``step`` up to eight of them, of twice that up to sixteen, and so on, so that there are few shapes and
    at most a fifth of a long sequence is padding. A step of 1 pads nothing.
    """
    if step == 1:
        return length
    while length > 8 * step:
        step *= 2
    return -(-length // step) * step


def group(lengths: Sequence[int], step: int, most: int) -> list[list[int]]:
    """Which samples go into one padded batch.

    Parameters
    ----------
    lengths : sequence of int
        Of each sample.
    step : int
        Lengths are padded to buckets of it; 1 pads to the longest of the group only.
    most : int
        Padded lengths of one group add up to at most this; a longer sample goes alone.

    Returns
    -------
    list of lists of int
        Places in ``lengths``, longest first; each place once.
    """
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if groups:
            here = [*groups[-1], place]
            padded = bucket(lengths[here[0]], step)
            carried = sum(bucket(lengths[other], step) for other in here)
            full = padded * len(here)
            if full <= most and full - carried <= _WASTE * full:
                groups[-1] = here
                continue
        groups.append([place])
    return groups


def pad(arrays: Sequence[NDArray[Any]], length: int, rows: int) -> NDArray[Any]:
    """Arrays side by side, zeros behind each along the last axis, and rows of zeros behind them.

    Parameters
    ----------
    arrays : sequence of arrays, shape (..., T_i)
    length : int
        T, at least every T_i.
    rows : int
        B, at least the number of arrays.

    Returns
    -------
    array, shape (B, ..., T)
    """
    padded = np.zeros((rows, *arrays[0].shape[:-1], length), arrays[0].dtype)
    for row, array in enumerate(arrays):
        padded[row, ..., : array.shape[-1]] = array
    return padded


def rows_for(count: int, repeats_shapes: bool) -> int:
    """Rows of a batch: the next power of two where shapes should repeat, else just as many as there are."""
    return 1 << (count - 1).bit_length() if repeats_shapes else count
