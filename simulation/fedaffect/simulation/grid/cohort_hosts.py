"""Workers of our own clients, and what each has to be given before it can work: the cohort, and what clients keep."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import ObjectRef
from ray.actor import ActorHandle

from fedaffect.simulation.grid.dispatch import Chunk
from fedaffect.simulation.grid.greeting import Hello
from fedaffect.simulation.grid.hosts import Hosts
from fedaffect.simulation.grid.kept import KeptFolders
from fedaffect.simulation.grid.parcel import Parcel, pack
from fedaffect.simulation.grid.worker import ClientWorker, Outcome

logger = logging.getLogger(__name__)


class CohortHosts(Hosts[Outcome]):
    """Hosts of :class:`fedaffect.simulation.grid.worker.ClientWorker`.

    A worker that sees the server's files uses them in place. One that does not gets the cohort through Ray's object
    store, once a machine, and what its clients keep travels with each call.

    Parameters
    ----------
    open_actor : callable
        Starts a worker.
    cohort : Path
        The cohort's folder here.
    kept : KeptFolders
        What clients keep, here.
    """

    def __init__(self, open_actor: Callable[[], ActorHandle[ClientWorker]], cohort: Path, kept: KeptFolders) -> None:
        self._cohort = cohort.resolve()
        super().__init__(open_actor, self._cohort)
        self._kept = kept
        self._parcel: Parcel | None = None

    def equip(self, actor: ActorHandle[Any], hello: Hello) -> ObjectRef[Any] | None:
        """The cohort, where the actor does not see it, and a place for what clients keep, away from home."""
        if hello.sees_folder and self.is_home(hello):
            return None
        if not hello.sees_folder and self._parcel is None:
            logger.info("node %s does not see %s, which goes there through Ray", hello.address, self._cohort)
            self._parcel = pack(self._cohort)
        parcel = None if hello.sees_folder else self._parcel
        settled: ObjectRef[Any] = actor.settle.remote(self._cohort, parcel, not self.is_home(hello))
        return settled

    def ask(self, actor: ActorHandle[Any], hello: Hello, chunk: Chunk) -> ObjectRef[Any]:
        """What clients keep travels with the call where the actor does not read it in its place."""
        kept = None if self.is_home(hello) else self._kept.read(chunk.clients)
        asked: ObjectRef[Any] = actor.run.remote(chunk.request, chunk.clients, kept)
        return asked

    def failure(self, client: int, code: int, reason: str) -> Outcome:
        """An outcome that is an error."""
        return Outcome(client, error=(code, reason))
