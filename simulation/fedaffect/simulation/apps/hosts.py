"""Workers of an app that was never seen, and what a call to one is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray import ObjectRef
from ray.actor import ActorHandle

from fedaffect.simulation.apps.contents import Asked
from fedaffect.simulation.apps.worker import Answer, Setting
from fedaffect.simulation.grid.dispatch import Chunk
from fedaffect.simulation.grid.greeting import Hello
from fedaffect.simulation.grid.hosts import Hosts


class AppHosts(Hosts[Answer]):
    """Hosts of :class:`fedaffect.simulation.apps.worker.AppWorker`.

    Parameters
    ----------
    open_actor : callable
        Starts a worker.
    app : ObjectRef
        The ClientApp, in Ray's object store.
    setting : Setting
    messages_of : callable
        The messages of a chunk.
    """

    def __init__(
        self,
        open_actor: Callable[[], ActorHandle[Any]],
        app: ObjectRef[Any],
        setting: Setting,
        messages_of: Callable[[Chunk], Sequence[Asked]],
    ) -> None:
        super().__init__(open_actor)
        self._app = app
        self._setting = setting
        self._messages_of = messages_of

    def equip(self, actor: ActorHandle[Any], hello: Hello) -> ObjectRef[Any]:
        """Every actor loads the app."""
        loaded: ObjectRef[Any] = actor.load.remote(self._app, self._setting)
        return loaded

    def ask(self, actor: ActorHandle[Any], hello: Hello, chunk: Chunk) -> ObjectRef[Any]:
        """What each client is asked alone, and what it kept, travels with the call."""
        asked: ObjectRef[Any] = actor.run.remote(chunk.key, [chunk.request], self._messages_of(chunk))
        return asked

    def failure(self, client: int, code: int, reason: str) -> Answer:
        """An answer that is an error."""
        return Answer(client, error=(code, reason))
