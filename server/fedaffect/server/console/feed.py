"""What changes, told to all who watch: one look a second for all of them, and none while nobody watches."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from fedaffect.server.registry import RegistryUnavailable
from fedaffect.server.serving.gateway.request_log import log_unforeseen

_LOOK_S: Final = 1.0
# Of one watcher; beyond, it is told to ask for all anew.
_MOST_UNSENT: Final = 256


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream.

    Parameters
    ----------
    kind : str
    data : str
        JSON.
    id : int, optional
        With which a stream goes on after it.
    """

    kind: str
    data: str = "{}"
    id: int | None = None

    @classmethod
    def of(cls, kind: str, said: BaseModel, id: int | None = None) -> Event:
        """An event that says a reply."""
        return cls(kind, said.model_dump_json(), id)

    def encoded(self) -> bytes:
        """As ``text/event-stream`` has it."""
        number = "" if self.id is None else f"id: {self.id}\n"
        return f"{number}event: {self.kind}\ndata: {self.data}\n\n".encode()


REFRESH: Final = Event("refresh")


class Feed(ABC):
    """Looks for what changed, and tells those who watch."""

    def __init__(self) -> None:
        self._watchers: set[asyncio.Queue[Event]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._away = False

    @abstractmethod
    async def begin(self) -> None:
        """Note how things stand: the first watcher comes."""

    @abstractmethod
    async def look(self) -> Sequence[Event]:
        """What changed since the last look."""

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[asyncio.Queue[Event]]:
        """A queue of what happens from now on."""
        if self._looking is None or self._looking.done():
            await self.begin()
            self._looking = asyncio.create_task(self._keep_looking())
        queue: asyncio.Queue[Event] = asyncio.Queue(_MOST_UNSENT)
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)

    async def _keep_looking(self) -> None:
        while self._watchers:
            await asyncio.sleep(_LOOK_S)
            try:
                found = await self.look()
            except RegistryUnavailable:
                found = () if self._away else (Event("away"),)
                self._away = True
            except Exception as error:  # noqa: BLE001 - who watches must not be left without any event
                log_unforeseen(error, "rest", "console feed")
                found = (REFRESH,)
            else:
                found = (Event("back"), *found) if self._away else found
                self._away = False
            for event in found:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        for queue in self._watchers:
            lost = queue.full()
            while lost and not queue.empty():
                queue.get_nowait()
            queue.put_nowait(REFRESH if lost else event)
