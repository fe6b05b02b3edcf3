"""Flower arrays that stay arrays: within one process nothing need be turned into bytes and back."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray

from fedaffect.client.flower_compat.names import SType


class MemoryArray(Array):
    """An ``Array`` that keeps the NumPy array and makes its bytes only if someone serialises it.

    Flower's own takes four copies for each array on its way through a process; with a hundred clients of a
    million parameters that is half a second a round.

    Parameters
    ----------
    values : NDArray
        Not copied; the caller no longer writes to it.
    """

    # Flower writes this name into the bytes, and those who read them make an ordinary Array.
    __qualname__ = Array.__qualname__

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        self.dtype = str(values.dtype)
        self.shape = tuple(values.shape)
        self.stype = SType.NUMPY

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The array in NumPy's file format, made on the spot."""
        buffer = BytesIO()
        np.save(buffer, self._values, allow_pickle=False)
        return buffer.getvalue()

    def numpy(self) -> NDArray[Any]:
        """The array itself."""
        return self._values


def memory_record(arrays: Mapping[str, NDArray[Any]]) -> ArrayRecord:
    """An ``ArrayRecord`` over arrays in memory; they are not copied.

    Parameters
    ----------
    arrays : mapping of str to NDArray
    """
    record = ArrayRecord()
    for name, values in arrays.items():
        record[name] = MemoryArray(values)
    return record
