"""Keeps open runs going: submits them to Flower, and again when the Flower run that carried one is over or dead.

One of our runs may span several Flower runs, since a crashed ServerApp ends Flower's. Whether one is at work is read
off the run's lease, which its ServerApp renews: Flower notices the death of a process later than that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fedaffect.edge.errors import FedAffectError
from fedaffect.server.fleet.api.aggregator import Aggregator, app_folder
from fedaffect.server.fleet.runs.database_retry import note_outage
from fedaffect.server.fleet.runs.lease_holder import is_dead
from fedaffect.server.fleet.runs.submission import write_app
from fedaffect.server.registry import RegistryUnavailable, leases, rounds, runs
from fedaffect.server.registry.leases import Lease

logger = logging.getLogger(__name__)

_LOOK_S: Final = 0.5
_RECONCILE_S: Final = 10.0
# From submission to the lease: a process starts and imports torch.
_STARTING_S: Final = 240.0
# One that was submitted before this service was killed and began anew gets so much of that.
_ADOPTED_S: Final = 30.0
# So many Flower runs in a row that raised and committed no round end a run: it would fail for ever.
_FRUITLESS: Final = 5
# One that was killed says nothing against the run. Killed this often in a row, for want of memory say, it does.
_KILLED: Final = 50
# How Flower's details begin where a ServerApp raised.
_RAISED: Final = "ServerApp failed with exception"
_OURS: Final = "driver"


@dataclass(slots=True)
class _Carried:
    """What the driver knows of a run between looks."""

    flower_run: int | None = None
    submitted: float = 0.0
    fruitless: int = 0
    killed: int = 0
    committed: int = 0
    seen_at_work: bool = False


class RunDriver:
    """Looks after open runs in a thread.

    Parameters
    ----------
    aggregator : Aggregator
    clock : callable, optional
        Seconds that only grow.
    """

    def __init__(self, aggregator: Aggregator, clock: Callable[[], float] = time.monotonic) -> None:
        self._aggregator = aggregator
        self._clock = clock
        self._known: dict[str, _Carried] = {}
        self._stop = threading.Event()
        self._reconciled = -_RECONCILE_S
        self._away_since: float | None = None

    def start(self) -> threading.Thread:
        """Look after runs until :meth:`stop`."""
        thread = threading.Thread(target=self._run, name="runs", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            if not self.look_again():
                self._stop.wait(_LOOK_S)

    def look_again(self) -> bool:
        """A look, if it can be had: the database or the SuperLink may be away for a while; what is open stays open."""
        try:
            self.look()
        except RegistryUnavailable as error:
            self._away_since = self._clock() if self._away_since is None else self._away_since
            logger.warning("%s", error)
            return False
        except FedAffectError as error:
            logger.warning("%s", error)
            return False
        if self._away_since is not None:
            seconds, self._away_since = self._clock() - self._away_since, None
            note_outage(self._aggregator.registry, seconds, subject="service", actor="service")
        return True

    def look(self) -> None:
        """One look at everything."""
        if self._clock() - self._reconciled > _RECONCILE_S:
            self._aggregator.reconcile()
            self._reconciled = self._clock()
        for run in runs.every(self._aggregator.registry, "open"):
            self._look_at(run)

    def _look_at(self, run: runs.Run) -> None:
        adopted = run.flower_runs[-1] if run.flower_runs else None
        carried = self._known.setdefault(run.id, _Carried(adopted, self._clock() - _STARTING_S + _ADOPTED_S))
        lease = leases.current(self._aggregator.registry, run.id)
        taken = lease is not None and not lease.owner.startswith(_OURS)
        carried.seen_at_work = carried.seen_at_work or taken
        if lease is not None and taken:
            if not is_dead(lease.owner):
                return
            # Killed without letting go. Let go for it, or the next one would be taken for dead too.
            leases.release(self._aggregator.registry, lease)
        if carried.flower_run is None:
            self._submit(run, carried)
        elif self._is_over(carried):
            self._account(run, carried)

    def _is_over(self, carried: _Carried) -> bool:
        """Whether the Flower run is done for, with nobody alive who holds the lease."""
        if carried.flower_run is None:
            return True
        state, _ = self._aggregator.superlink.state(carried.flower_run)
        if state.startswith("finished") or state == "unknown":
            return True
        # Running by Flower's books, but its ServerApp lost or never took the lease: it was killed.
        starting = self._clock() - carried.submitted < _STARTING_S
        if carried.seen_at_work or not starting:
            self._aggregator.superlink.stop(carried.flower_run)
            return True
        return False

    def _account(self, run: runs.Run, carried: _Carried) -> None:
        """Have the run carried on, unless it gets nowhere."""
        last = rounds.last_committed(self._aggregator.registry, run.id)
        committed = last.round if last else 0
        _, details = self._aggregator.superlink.state(carried.flower_run or 0)
        if committed > carried.committed:
            carried.fruitless = carried.killed = 0
        elif details.startswith(_RAISED):
            carried.fruitless += 1
        else:
            carried.killed += 1
        carried.committed = committed
        if carried.fruitless >= _FRUITLESS or carried.killed >= _KILLED:
            self._give_up(run, carried.fruitless + carried.killed, details)
            return
        # Counted once, also where it cannot be submitted now.
        carried.flower_run = None
        self._submit(run, carried)

    def _submit(self, run: runs.Run, carried: _Carried) -> None:
        app = write_app(app_folder(self._aggregator.folder, run.id), run.id, run.config)
        carried.flower_run = self._aggregator.superlink.start(app)
        carried.submitted, carried.seen_at_work = self._clock(), False
        runs.attach(self._aggregator.registry, run.id, carried.flower_run)
        logger.info("run %s is carried by Flower's run %d", run.id, carried.flower_run)

    def _give_up(self, run: runs.Run, attempts: int, details: str) -> None:
        lease: Lease = leases.acquire(self._aggregator.registry, run.id, f"{_OURS}:{id(self)}")
        reason = f"{attempts} attempts in a row committed no round; the last said: {details or 'nothing'}"
        runs.finish(self._aggregator.registry, lease, state="failed", reason=reason)
        logger.error("run %s failed: %s", run.id, reason)
