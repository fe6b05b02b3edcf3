"""Three ways to write a vector in fewer bytes, each with the numbers that are read back from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError

Vector: TypeAlias = NDArray[np.float32]
Encoded: TypeAlias = Mapping[str, NDArray[Any]]

# A block's values share a scale. The scales of smaller blocks would be a larger part of the bytes.
BLOCK = 256
_LEVELS = 127
_VALUES, _SCALES, _SCALE, _PLACES = "values", "scales", "scale", "places"


class Codec(Protocol):
    """A way to write vectors.

    Attributes
    ----------
    feeds_back : bool
        Whether what was left out of one round is to be added to the next.
    linear : str
        The array that everything read back is proportional to: a vector is made shorter by it.
    """

    feeds_back: bool
    linear: str

    def encode(self, vector: Vector, random: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Named arrays that :meth:`decode` reads.

        Parameters
        ----------
        vector : float32 array, shape (P,)
        random : Generator
            For rounding.
        """

    def decode(self, arrays: Encoded, size: int) -> Vector:
        """The vector, shape (``size``,).

        Raises
        ------
        ConfigError
            If the arrays are not what :meth:`encode` writes for that size.
        """


class Fp16:
    """Half precision, scaled by a power of two so that small changes keep their eleven bits."""

    feeds_back, linear = False, _SCALE

    def encode(self, vector: Vector, random: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Two bytes a value, and one scale."""
        largest = float(np.abs(vector).max(initial=0.0))
        # So that the largest lies just under 2^15, where half precision ends.
        scale = 2.0 ** (np.frexp(largest)[1] - 15) if largest else 1.0
        return {_VALUES: (vector / np.float32(scale)).astype(np.float16), _SCALE: np.array([scale], np.float32)}

    def decode(self, arrays: Encoded, size: int) -> Vector:
        """Values times scale."""
        _require(arrays, {_VALUES: (np.float16, size), _SCALE: (np.float32, 1)})
        read: Vector = np.multiply(arrays[_VALUES], arrays[_SCALE][0], dtype=np.float32)
        return read


class Int8:
    """Eight bits a value with a scale for each block, rounded at random so that it is right on average.

    The quantiser of QSGD (Alistarh et al., NeurIPS 2017) with the largest magnitude of a block as its norm:
    round x / s down or up with probabilities by how near each is, s = max |x| / 127.
    """

    feeds_back, linear = False, _SCALES

    def encode(self, vector: Vector, random: np.random.Generator) -> dict[str, NDArray[Any]]:
        """One byte a value, and four for each block of 256."""
        blocks = -(-len(vector) // BLOCK)
        padded = np.zeros(blocks * BLOCK, np.float32)
        padded[: len(vector)] = vector
        grid = padded.reshape(blocks, BLOCK)
        scales = np.abs(grid).max(axis=1) / np.float32(_LEVELS)
        # A scale that underflows makes its block zero.
        grid /= np.where(scales > 0, scales, np.float32(np.inf))[:, None]
        grid += random.random(grid.shape, dtype=np.float32)
        np.floor(grid, out=grid)
        # The division may have rounded the largest up by a hair.
        np.clip(grid, -_LEVELS, _LEVELS, out=grid)
        return {_VALUES: padded[: len(vector)].astype(np.int8), _SCALES: scales}

    def decode(self, arrays: Encoded, size: int) -> Vector:
        """Values times their block's scale."""
        blocks = -(-size // BLOCK)
        _require(arrays, {_VALUES: (np.int8, size), _SCALES: (np.float32, blocks)})
        read: Vector = np.multiply(arrays[_VALUES], np.repeat(arrays[_SCALES], BLOCK)[:size], dtype=np.float32)
        return read


class TopK:
    """The values of largest magnitude and their places; the rest waits on the client (error feedback).

    Stich, Cordonnier and Jaggi (NeurIPS 2018), algorithm 1, with whole rounds in the place of steps.

    Parameters
    ----------
    share : float
        Of all values, in (0, 1].
    """

    feeds_back, linear = True, _VALUES

    def __init__(self, share: float) -> None:
        if not 0 < share <= 1:
            raise ConfigError(f"top-k keeps a share of the values above 0 and at most 1, not {share:g}; try top-k:0.01")
        self.share = share

    def kept(self, size: int) -> int:
        """K of a vector of ``size`` values."""
        return max(1, round(self.share * size))

    def encode(self, vector: Vector, random: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Eight bytes for each value that is kept."""
        count = self.kept(len(vector))
        places = np.sort(np.argpartition(np.abs(vector), len(vector) - count)[len(vector) - count :])
        return {_PLACES: places.astype(np.uint32), _VALUES: vector[places]}

    def decode(self, arrays: Encoded, size: int) -> Vector:
        """Zero where nothing was sent."""
        count = self.kept(size)
        _require(arrays, {_PLACES: (np.uint32, count), _VALUES: (np.float32, count)})
        places = arrays[_PLACES]
        if np.any(places[1:] <= places[:-1]) or places[-1] >= size:
            raise ConfigError("the places of a top-k update are not ascending places of this model's values")
        vector = np.zeros(size, np.float32)
        vector[places] = arrays[_VALUES]
        return vector


def _require(arrays: Encoded, wanted: Mapping[str, tuple[Any, int]]) -> None:
    for name, (dtype, length) in wanted.items():
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.shape != (length,):
            found = "nothing" if array is None else f"{array.shape} of {array.dtype}"
            raise ConfigError(f"a compressed update holds {length} {np.dtype(dtype)} as {name!r}, not {found}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ConfigError(f"a compressed update's {name!r} hold NaN or infinity; lower the learning rate")
