"""Submits open runs to Flower, and again when the Flower run that executes one has ended or died.

One run of the fleet may span several Flower runs, since a crashed ServerApp ends Flower's. Whether one is executed is
read off the run's lease, which its ServerApp renews: Flower notices the death of a process later than that.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from fedaffect.server.fleet.api.aggregator import Aggregator, app_folder
from fedaffect.server.fleet.failures import Failures
from fedaffect.server.fleet.lasting_thread import LastingThread
from fedaffect.server.fleet.runs.driver_state import REGISTRY, DriverState
from fedaffect.server.fleet.runs.lease_holder import is_dead
from fedaffect.server.fleet.runs.submission import write_app
from fedaffect.server.registry import RegistryUnavailable, audit, leases, rounds, runs
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.retry import note_outage

logger = logging.getLogger(__name__)

_LOOK_S: Final = 0.5
_RECONCILE_S: Final = 10.0
# From submission to the lease: a process starts and imports torch.
_STARTING_S: Final = 240.0
# How much of that is left for one that was submitted before this service was restarted.
_ADOPTED_S: Final = 30.0
# From its lease to what Flower says of its end: a process that raised gives the lease back first.
_ENDING_S: Final = 30.0
# A run ends after so many Flower runs in a row that raised and committed no round.
_FRUITLESS: Final = 5
# A killed Flower run may have other causes. After so many in a row (too little memory, say), the run ends too.
_KILLED: Final = 50
# How Flower's details begin where a ServerApp raised.
_RAISED: Final = "ServerApp failed with exception"
# What Flower says of a run that somebody stopped.
_STOPPED: Final = "finished:stopped"
_OURS: Final = "driver"
# Of the audit log: a Flower run that the driver itself stopped.
_ENDED: Final = "flower-run.ended"
# What concerns all runs; the pass is repeated.
_AWAY: Final = (RegistryUnavailable,)


@dataclass(slots=True)
class _Progress:
    """What the driver knows of a run."""

    flower_run: int | None = None
    submitted: float = 0.0
    fruitless: int = 0
    killed: int = 0
    committed: int = 0
    # Whether the Flower run was submitted for us, and no service of ours stopped it.
    ours: bool = False
    # When it was seen at work last; None before that.
    at_work_s: float | None = None


class RunDriver:
    """Drives open runs, in a thread. What fails for one device or run is put down to that one, and the rest goes on.

    Parameters
    ----------
    aggregator : Aggregator
    clock : callable, optional
        Seconds, monotonic.
    """

    def __init__(self, aggregator: Aggregator, clock: Callable[[], float] = time.monotonic) -> None:
        self._aggregator = aggregator
        self._clock = clock
        self._known: dict[str, _Progress] = {}
        self._stop = threading.Event()
        self._thread = LastingThread("runs", self._run)
        self._reconciled = -_RECONCILE_S
        self._away_since: float | None = None
        self._looked = clock()
        self.failures = Failures(clock)

    def start(self) -> None:
        """Drive runs until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.stop()

    def state(self) -> DriverState:
        """How it does."""
        return DriverState(
            self._thread.alive,
            round(self._clock() - self._looked, 1),
            self._thread.restarts,
            self.failures.now(),
            self.failures.count,
        )

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            if not self.look_again():
                self._stop.wait(_LOOK_S)

    def look_again(self) -> bool:
        """One pass over devices and open runs; False where the database is unavailable, to be repeated."""
        try:
            self.look()
        except RegistryUnavailable as error:
            self._away_since = self._clock() if self._away_since is None else self._away_since
            self.failures.note(REGISTRY, error)
            return False
        finally:
            self._looked = self._clock()
        self.failures.clear(REGISTRY)
        if self._away_since is not None:
            seconds, self._away_since = self._clock() - self._away_since, None
            note_outage(self._aggregator.registry, seconds, subject="service", actor="service")
        return True

    def look(self) -> None:
        """One pass over devices and open runs.

        Raises
        ------
        RegistryUnavailable
            If the database is.
        """
        if self._clock() - self._reconciled > _RECONCILE_S:
            self._reconciled = self._clock()
            self.failures.attempt("devices", lambda: self._aggregator.reconcile(self.failures), _AWAY)
        for run in runs.every(self._aggregator.registry, "open"):
            self.failures.attempt(f"run {run.id}", partial(self._look_at, run), _AWAY)

    def _look_at(self, run: runs.Run) -> None:
        adopted = run.flower_runs[-1] if run.flower_runs else None
        if (progress := self._known.get(run.id)) is None:
            # Of a service before this one. Stopped meanwhile, it was stopped by somebody, unless that service did it.
            ours = adopted is not None and not self._stopped_before(run.id, adopted)
            progress = _Progress(adopted, self._clock() - _STARTING_S + _ADOPTED_S, ours=ours)
            self._known[run.id] = progress
        lease = leases.current(self._aggregator.registry, run.id)
        taken = lease is not None and not lease.owner.startswith(_OURS)
        if lease is not None and taken:
            progress.at_work_s = self._clock()
            if not is_dead(lease.owner):
                return
            progress.at_work_s = -math.inf
            # Killed before it released the lease. Released here, or the next one would seem dead too.
            leases.release(self._aggregator.registry, lease)
        if progress.flower_run is None:
            self._submit(run, progress)
        elif self._is_over(run, progress):
            self._account(run, progress)

    def _stopped_before(self, run_id: str, flower_run: int) -> bool:
        subject = _subject(run_id, flower_run)
        noted = audit.entries(self._aggregator.registry, subject=subject, action=_ENDED)
        return any(entry.subject == subject for entry in noted)

    def _is_over(self, run: runs.Run, progress: _Progress) -> bool:
        """Whether the Flower run has ended, and no process holds the lease."""
        if progress.flower_run is None:
            return True
        state, _ = self._aggregator.superlink.state(progress.flower_run)
        if state.startswith("finished") or state == "unknown":
            return True
        # Flower says that it runs, but its ServerApp lost or never took the lease: it was killed, if not just ending.
        now = self._clock()
        starting = progress.at_work_s is None and now - progress.submitted < _STARTING_S
        ending = progress.at_work_s is not None and now - progress.at_work_s < _ENDING_S
        if not (starting or ending):
            progress.ours = False
            # First, so that a service that goes on from here knows that nobody cancelled the run.
            subject = _subject(run.id, progress.flower_run)
            audit.write(self._aggregator.registry, _ENDED, subject=subject, actor=_OURS, why="its ServerApp was killed")
            self._aggregator.superlink.stop(progress.flower_run)
            return True
        return False

    def _account(self, run: runs.Run, progress: _Progress) -> None:
        """Submit the run again, unless it commits no rounds."""
        last = rounds.last_committed(self._aggregator.registry, run.id)
        committed = last.round if last else 0
        state, details = self._aggregator.superlink.state(progress.flower_run or 0)
        if state == _STOPPED and progress.ours:
            runs.cancel(self._aggregator.registry, run.id, reason="it was stopped with flwr stop")
            logger.info("run %s was stopped with flwr stop, so it is cancelled", run.id)
            return
        if committed > progress.committed:
            progress.fruitless = progress.killed = 0
        elif details.startswith(_RAISED):
            progress.fruitless += 1
        else:
            progress.killed += 1
        progress.committed = committed
        if progress.fruitless >= _FRUITLESS or progress.killed >= _KILLED:
            self._give_up(run, progress.fruitless + progress.killed, details)
            return
        # So that it is counted once, also where it cannot be submitted now.
        progress.flower_run = None
        self._submit(run, progress)

    def _submit(self, run: runs.Run, progress: _Progress) -> None:
        app = write_app(app_folder(self._aggregator.folder, run.id), run.id, run.config)
        progress.flower_run = self._aggregator.superlink.start(app)
        progress.submitted, progress.at_work_s, progress.ours = self._clock(), None, True
        runs.attach(self._aggregator.registry, run.id, progress.flower_run)
        logger.info("run %s is executed by Flower's run %d", run.id, progress.flower_run)

    def _give_up(self, run: runs.Run, attempts: int, details: str) -> None:
        lease: Lease = leases.acquire(self._aggregator.registry, run.id, f"{_OURS}:{id(self)}")
        reason = f"{attempts} attempts in a row committed no round; the last error: {details or 'none given'}"
        runs.finish(self._aggregator.registry, lease, state="failed", reason=reason)
        logger.error("run %s failed: %s", run.id, reason)


def _subject(run_id: str, flower_run: int) -> str:
    return f"{run_id}/{flower_run}"
