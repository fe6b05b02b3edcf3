"""The machines of a Ray on which a grid's workers run: what a worker says of its place, and what a call to it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.grid.greeting import Greeting, Hello, code_in_use, signature_of

if TYPE_CHECKING:
    from fedaffect.simulation.grid.dispatch import Chunk

Answer = TypeVar("Answer")


class Hosts(ABC, Generic[Answer]):
    """Opens workers wherever Ray has room, and learns from each where that is. All must run the same code.

    A worker has ``greet``, as :func:`fedaffect.simulation.grid.greeting.answer_greeting`.

    Parameters
    ----------
    open_actor : callable
        Starts a worker.
    folder : Path, optional
        Files here that workers need; each says whether it sees them.
    """

    def __init__(self, open_actor: Callable[[], ActorHandle[Any]], folder: Path | None = None) -> None:
        self._open_actor = open_actor
        self._greeting = Greeting(_own_node(), folder, signature_of(folder))
        # Answers of clients by the address of the machine that gave them.
        self.answers: Counter[str] = Counter()

    def open(self) -> tuple[ActorHandle[Any], ObjectRef[Any]]:
        """A new actor, and its answer to the greeting, which comes once Ray has found room for it."""
        actor = self._open_actor()
        return actor, actor.greet.remote(self._greeting)

    def welcome(self, actor: ActorHandle[Any], hello: Hello) -> ObjectRef[Any] | None:
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
        return self.equip(actor, hello)

    @abstractmethod
    def equip(self, actor: ActorHandle[Any], hello: Hello) -> ObjectRef[Any] | None:
        """Give an actor of the right code what it lacks; None where that is nothing."""

    @abstractmethod
    def ask(self, actor: ActorHandle[Any], hello: Hello, chunk: Chunk) -> ObjectRef[Any]:
        """Call an actor for a chunk's clients; it gives their answers, and a layout of vectors in them or None."""

    @abstractmethod
    def failure(self, client: int, code: int, reason: str) -> Answer:
        """In place of a client's answer: one of Flower's error codes, and why."""

    def is_home(self, hello: Hello) -> bool:
        """Whether an actor runs on the server's machine."""
        return bool(self._greeting.node) and hello.node == self._greeting.node

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
