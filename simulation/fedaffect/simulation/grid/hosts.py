"""The machines of a Ray on which a grid's workers run, and what each has to be given before it can work."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.grid.greeting import Greeting, Hello, code_in_use, signature_of
from fedaffect.simulation.grid.kept import KeptFiles, KeptFolders
from fedaffect.simulation.grid.parcel import Parcel, pack
from fedaffect.simulation.grid.worker import ClientWorker

logger = logging.getLogger(__name__)


class Hosts:
    """Opens workers wherever Ray has room, and learns from each where that is.

    A worker that sees the server's files uses them in place. One that does not gets the cohort through Ray's object
    store, once a machine, and what its clients keep travels with each call. All must run the same code.

    Parameters
    ----------
    open_actor : callable
        Starts an actor of :class:`fedaffect.simulation.grid.worker.ClientWorker`.
    cohort : Path
        The cohort's folder here.
    kept : KeptFolders
        What clients keep, here.
    """

    def __init__(self, open_actor: Callable[[], ActorHandle[ClientWorker]], cohort: Path, kept: KeptFolders) -> None:
        self._open_actor = open_actor
        self._cohort = cohort.resolve()
        self._kept = kept
        self._greeting = Greeting(_own_node(), self._cohort, signature_of(self._cohort))
        self._parcel: Parcel | None = None
        # Answers of clients by the address of the machine that gave them.
        self.answers: Counter[str] = Counter()

    def open(self) -> tuple[ActorHandle[ClientWorker], ObjectRef[Any]]:
        """A new actor, and its answer to the greeting, which comes once Ray has found room for it."""
        actor = self._open_actor()
        return actor, actor.greet.remote(self._greeting)

    def welcome(self, actor: ActorHandle[ClientWorker], hello: Hello) -> ObjectRef[Any] | None:
        """Give an actor what it lacks; None where that is nothing.

        Raises
        ------
        ConfigError
            If it runs other code than the server.
        """
        mine = code_in_use()
        if differing := [
            f"{name} {hello.code.get(name)}, not {mine[name]}" for name in mine if hello.code.get(name) != mine[name]
        ]:
            raise ConfigError(f"the Ray node {hello.address} runs {'; '.join(differing)}; install there what runs here")
        if hello.sees_cohort and self.is_home(hello):
            return None
        if not hello.sees_cohort and self._parcel is None:
            logger.info("node %s does not see %s, which goes there through Ray", hello.address, self._cohort)
            self._parcel = pack(self._cohort)
        parcel = None if hello.sees_cohort else self._parcel
        return actor.settle.remote(self._cohort, parcel, not self.is_home(hello))

    def is_home(self, hello: Hello) -> bool:
        """Whether an actor runs on the server's machine."""
        return bool(self._greeting.node) and hello.node == self._greeting.node

    def kept_by(self, hello: Hello, clients: Iterable[int]) -> dict[int, KeptFiles] | None:
        """What travels with a call for these clients; None where the actor reads it in its place."""
        return None if self.is_home(hello) else self._kept.read(clients)

    def is_gone(self, hello: Hello | None) -> bool:
        """Whether the machine of an actor has left the cluster."""
        if hello is None:
            return False
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        return hello.node not in alive


def _own_node() -> str:
    # Through Ray's client this process is on no node of the cluster.
    client: bool = ray.util.client.ray.is_connected()  # type: ignore[no-untyped-call]
    return "" if client else ray.get_runtime_context().get_node_id()
