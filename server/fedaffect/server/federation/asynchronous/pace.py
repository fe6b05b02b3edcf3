"""How long simulated clients take; the server's loops reckon with it instead of waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import TrainingError

# How finely the wait for clients that are away is reckoned, and when it is given up.
_STEP_S, _LONGEST_WAIT_S = 300.0, 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Trip:
    """One client's way through one task.

    Parameters
    ----------
    seconds : float
        From being asked until its update is there.
    arrives : bool
        False for a client that drops out: nothing ever comes.
    """

    seconds: float
    arrives: bool


class Pace(Protocol):
    """A trace of devices. Pure: equal questions have equal answers, in any process."""

    def online(self, at_s: float) -> NDArray[np.bool_]:
        """Who can be asked at a moment of simulated time, (K,)."""

    def trip(self, client: int, start: int, at_s: float) -> Trip:
        """What becomes of a client that is asked; ``start`` numbers the asking within the run."""

    def describe(self) -> dict[str, Any]:
        """What a summary says about it."""


def wait_for(pace: Pace, least: int, at_s: float) -> tuple[float, NDArray[np.int64]]:
    """The first moment from ``at_s`` on when so many clients are online, and who they are.

    Where that never happens within a week, those who are online then.

    Raises
    ------
    TrainingError
        If nobody is.
    """
    moment = at_s
    while True:
        there = np.flatnonzero(pace.online(moment))
        if len(there) >= least or moment - at_s >= _LONGEST_WAIT_S:
            break
        moment += _STEP_S
    if len(there) == 0:
        raise TrainingError("no client of the trace is online for a week; give the trace other hours")
    return moment, there
