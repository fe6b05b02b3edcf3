"""Kills at random instants: single processes of a fleet, whole machines of it, and its database."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.own_postgresql import OwnPostgresql
from tests.support.small_fleet import SmallFleet

PROCESSES = {
    "ServerApp": "flwr-serverapp",
    "SuperLink": "fedaffect.server.fleet.superlink.program",
    "gate": "fedaffect.server.fleet.superlink.gate",
    "service": "fedaffect.server.fleet.api.serve",
    "SuperNode": "fedaffect.client.device.supernode",
    "trainer": "fedaffect.client.device.resident",
}
# Everything of it at once; nobody is left who would start anything again.
DEVICE, SERVER, DATABASE = "whole device", "whole server", "database"
# A trainer in the middle of a step, and in half of these the ServerApp too, so that its round is asked for again.
TRAINING = "trainer at a noisy step"
_TRAINING_S, _GLANCE_S = 10.0, 0.005
_MACHINE_AWAY_S, _DATABASE_AWAY_S, _LONG_OUTAGE_S = 10.0, 20.0, (62.0, 75.0)
_SERVER_NAME = "up"


class Killing:
    """Kills by SIGKILL, and starts again what has no supervisor.

    Parameters
    ----------
    fleet : SmallFleet
    devices : sequence of str
        Names under which devices were started.
    database : OwnPostgresql, optional
        The registry's.
    rng : random.Random
    trace : str
        File in a device's folder that grows while it trains, where kills should fall into that on purpose as well.
    """

    def __init__(
        self,
        fleet: SmallFleet,
        devices: Sequence[str],
        database: OwnPostgresql | None,
        rng: random.Random,
        trace: str = "",
    ) -> None:
        self._fleet = fleet
        self._devices = list(devices)
        self._database = database
        self._rng = rng
        self._trace = trace
        self._away: dict[str, threading.Timer] = {}
        self.killed: Counter[str] = Counter()
        self.longest_outage_s = 0.0

    def at_random(self, kills: int, pause_s: float, over: Callable[[], bool]) -> None:
        """Kill so many times, `pause_s` apart at most, until the run is over; return when all is back.

        Half way through, the database stays away for more than a minute.
        """
        try:
            self._kill_on(kills, pause_s, over)
        except BaseException:
            for timer in list(self._away.values()):
                timer.cancel()
            raise
        for timer in list(self._away.values()):
            timer.join()
        self.killed = +self.killed

    def _kill_on(self, kills: int, pause_s: float, over: Callable[[], bool]) -> None:
        kinds = [*PROCESSES, DEVICE, SERVER, *([DATABASE] if self._database else [])]
        kinds += 3 * [TRAINING] if self._trace else []
        while (done := sum(self.killed.values())) < kills and not over():
            time.sleep(self._rng.uniform(0.2, pause_s))
            long = self._database is not None and done >= kills // 2 and self.longest_outage_s < _LONG_OUTAGE_S[0]
            what = DATABASE if long else self._rng.choice(kinds)
            self.killed[what] += self._kill(what, long)

    def _kill(self, what: str, long: bool) -> bool:
        """Whether there was something to kill."""
        if what == DATABASE:
            return self._kill_database(long)
        if what == TRAINING:
            return self._kill_in_training()
        if what in (DEVICE, SERVER):
            names = [_SERVER_NAME] if what == SERVER else self._devices
            here = [name for name in names if name not in self._away]
            if not here:
                return False
            name = self._rng.choice(here)
            self._fleet.crash(name)
            self._back(name, self._rng.uniform(0, _MACHINE_AWAY_S), lambda: self._fleet.again(name))
            return True
        found = self._fleet.processes(PROCESSES[what])
        return bool(found) and self._fleet.kill_one(self._rng.choice(found))

    def _kill_in_training(self) -> bool:
        traces = {name: self._fleet.folder / name / self._trace for name in self._devices}
        before = {name: _size(path) for name, path in traces.items()}
        until = time.monotonic() + _TRAINING_S
        while time.monotonic() < until:
            for name, path in traces.items():
                if _size(path) > before[name]:
                    return self._kill_trainer(name)
            time.sleep(_GLANCE_S)
        return False

    def _kill_trainer(self, name: str) -> bool:
        killed = self._fleet.kill(f"{PROCESSES['trainer']} {self._fleet.folder / name}")
        if killed and self._rng.random() < 0.5 and self._fleet.kill(PROCESSES["ServerApp"]):
            self.killed["ServerApp"] += 1
        return bool(killed)

    def _kill_database(self, long: bool) -> bool:
        if self._database is None or DATABASE in self._away:
            return False
        away_s = self._rng.uniform(*_LONG_OUTAGE_S) if long else self._rng.uniform(0, _DATABASE_AWAY_S)
        self._database.kill()
        self._back(DATABASE, away_s, self._database.start)
        self.longest_outage_s = max(self.longest_outage_s, away_s)
        return True

    def _back(self, name: str, away_s: float, start: Callable[[], None]) -> None:
        def started() -> None:
            try:
                start()
            finally:
                self._away.pop(name, None)

        self._away[name] = threading.Timer(away_s, started)
        self._away[name].start()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
