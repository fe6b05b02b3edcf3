"""Fixed standardisation of an encoder's features, measured when its bundle was built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import BundleError

_FLOOR = 1e-5


@dataclass(frozen=True, slots=True)
class Scale:
    """Mean and spread of each feature, over samples that are nobody's.

    A network's features differ a hundredfold in spread, and a LayerNorm over them sees only the largest.

    Parameters
    ----------
    mean, deviation : float32 arrays, shape (W,)
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def of(cls, tokens: NDArray[np.float32]) -> Scale:
        """Measure on tokens, shape (S, W)."""
        return cls(tokens.mean(axis=0), np.maximum(tokens.std(axis=0), _FLOOR))

    def __call__(self, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standardise tokens, shape (T, W)."""
        scaled: NDArray[np.float32] = (tokens - self.mean) / self.deviation
        return scaled

    def save(self, path: Path) -> None:
        """Write both as one float32 array, shape (2, W)."""
        np.save(path, np.stack([self.mean, self.deviation]).astype(np.float32), allow_pickle=False)

    @classmethod
    def load(cls, path: Path, width: int) -> Scale:
        """Read what :meth:`save` wrote.

        Raises
        ------
        BundleError
            If the file is damaged or for another width.
        """
        try:
            both = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} cannot be read ({error}); build the bundle again") from error
        if both.shape != (2, width) or not np.isfinite(both).all() or (both[1] <= 0).any():
            raise BundleError(f"{path} is not a scale for {width} features; build the bundle again")
        return cls(both[0].astype(np.float32), both[1].astype(np.float32))
