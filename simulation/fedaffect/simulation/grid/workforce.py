"""How many actors a grid has, and when the first of them may work."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fedaffect.simulation.grid.capacity import Room, actors_that_fit
from fedaffect.simulation.grid.dispatch import Dispatcher

# While actors start: how often to look, and how long the first ones wait for another.
_LOOK_S, _OTHERS_S = 0.5, 5.0


class Workforce:
    """As many actors as Ray has room for, and no more than there are clients.

    Parameters
    ----------
    wanted : int, optional
        Asked for; as many as fit by default.
    clients : int
    cpus, gpus : float
        What one actor takes.

    """

    def __init__(self, wanted: int | None, clients: int, cpus: float, gpus: float) -> None:
        self._wanted, self._clients, self._each = wanted, clients, (cpus, gpus)
        self._gathered = False
        self._room = Room(cpus, gpus)

    def note(self, ready: int) -> None:
        """Say what it waits for while none of its actors can work."""
        self._room.note(ready)

    def fitting(self) -> int:
        """How many actors there may be now: machines join and leave.

        Raises
        ------
        ConfigError
            If not even one fits, or fewer than were asked for.
        """
        return min(actors_that_fit(self._wanted, *self._each), self._clients)

    def gather(self, dispatcher: Dispatcher[Any], advance: Callable[[float], None]) -> None:
        """Have all actors there before the first of them works, or those for which Ray has room now.

        Parameters
        ----------
        dispatcher : Dispatcher
            Whose actors they are.
        advance : callable
            Lets it work for at most so many seconds.
        """
        if self._gathered:
            if self._wanted is None:
                # Machines may have joined.
                dispatcher.grow(self.fitting())
            return
        self._gathered = True
        news = time.monotonic()
        while (ready := dispatcher.ready) < dispatcher.actors:
            advance(_LOOK_S)
            if dispatcher.ready != ready:
                news = time.monotonic()
            if dispatcher.ready and time.monotonic() - news > _OTHERS_S:
                return
