"""Steadies the answers of windows that follow each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError


class Smoother:
    """Exponential average of probabilities over time.

    After ``time_constant_s`` a change has come through to 63 %. A label that changes with every window is of no use
    to an app, and a window that overlaps the one before by five sixths says little that is new.

    Parameters
    ----------
    time_constant_s : float
        0 for none.
    """

    def __init__(self, time_constant_s: float = 1.0) -> None:
        if not (math.isfinite(time_constant_s) and time_constant_s >= 0):
            raise ConfigError(f"smoothing over {time_constant_s} s makes no sense; give 0 or more seconds")
        self._time_constant_s = time_constant_s
        self._labels: tuple[str, ...] = ()
        self._state = np.zeros(0)
        self._time_s = 0.0

    def __call__(
        self, labels: tuple[str, ...], probabilities: NDArray[np.float64], time_s: float
    ) -> NDArray[np.float64]:
        """The steadied probabilities, shape (C,); begins again where the labels are others than before.

        Parameters
        ----------
        labels : tuple of str
            Of the C classes.
        probabilities : float64 array, shape (C,)
            Of the newest window.
        time_s : float
            When it ends.
        """
        if labels != self._labels or self._time_constant_s == 0:
            self._labels, self._state = labels, probabilities
        else:
            keep = math.exp(-(time_s - self._time_s) / self._time_constant_s)
            self._state = keep * self._state + (1 - keep) * probabilities
        self._time_s = time_s
        return self._state
