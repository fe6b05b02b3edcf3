"""Who trains when, in simulated time: the events of an asynchronous federation, without its arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fedaffect.edge.errors import TrainingError
from fedaffect.server.federation.asynchronous.pace import Pace, wait_for

# Sets these draws apart from others that a run derives from the same seed.
_STREAM = 0xA51C


@dataclass(frozen=True, slots=True, order=True)
class Flight:
    """One client on its way with one version of the parameters.

    Parameters
    ----------
    ends_s : float
        When its update arrives, or when the server gives it up.
    start : int
        How many were started before it in the run; orders flights that end at once.
    client : int
        Partition id.
    version : int
        Of the parameters that it trains from; 0 are the initial ones.
    arrives : bool
    """

    ends_s: float
    start: int
    client: int
    version: int
    arrives: bool


class Schedule:
    """A fixed number of clients train at any time; whenever one is back, another is started.

    Parameters
    ----------
    pace : Pace
    concurrency : int
        Clients that train at once.
    timeout_s : float
        After which a client that dropped out is given up, and its place is free.
    seed : int
        Decides with the number of the start who is started.
    """

    def __init__(self, pace: Pace, concurrency: int, timeout_s: float, seed: int) -> None:
        self._pace, self._concurrency, self._timeout_s, self._seed = pace, concurrency, timeout_s, seed
        self.now_s = 0.0
        self.starts = 0
        self.flights: list[Flight] = []
        # Who trained from the newest version: a second update from the same parameters would be the same update.
        self._version, self._done = 0, set[int]()

    @property
    def versions(self) -> set[int]:
        """Versions that somebody still trains from."""
        return {flight.version for flight in self.flights}

    def fill(self, version: int) -> None:
        """Start clients on a version until as many train as may."""
        if version != self._version:
            self._version, self._done = version, set()
        if not self.flights:
            self.now_s, _ = wait_for(self._pace, 1, self.now_s)
        away = {flight.client for flight in self.flights} | self._done
        there = [int(k) for k in np.flatnonzero(self._pace.online(self.now_s)) if int(k) not in away]
        while len(self.flights) < self._concurrency and there:
            self.starts += 1
            client = there.pop(int(np.random.default_rng([_STREAM, self._seed, self.starts]).integers(len(there))))
            trip = self._pace.trip(client, self.starts, self.now_s)
            lasts_s = min(trip.seconds, self._timeout_s) if trip.arrives else self._timeout_s
            arrives = trip.arrives and trip.seconds <= self._timeout_s
            self.flights.append(Flight(self.now_s + lasts_s, self.starts, client, version, arrives))
            self._done.add(client)

    def land(self) -> Flight:
        """The next flight that ends; time goes on to then.

        Raises
        ------
        TrainingError
            If nobody is under way.
        """
        if not self.flights:
            raise TrainingError("nobody is under way; every client that is online has trained from this version")
        flight = min(self.flights)
        self.flights.remove(flight)
        self.now_s = flight.ends_s
        if not flight.arrives:
            # Of this one nothing came: it may be asked again.
            self._done.discard(flight.client)
        return flight

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "now_s": self.now_s,
            "starts": self.starts,
            "flights": [asdict(flight) for flight in sorted(self.flights)],
            "version": self._version,
            "done": sorted(self._done),
        }

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go back to what :meth:`to_dict` said."""
        self.now_s, self.starts = float(stored["now_s"]), int(stored["starts"])
        self.flights = [Flight(**flight) for flight in stored["flights"]]
        self._version, self._done = int(stored["version"]), set(stored["done"])
