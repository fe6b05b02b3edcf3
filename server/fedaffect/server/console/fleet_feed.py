"""The fleet as it happens: the registry's audit log, whose numbers have no gaps, and rounds that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel

from fedaffect.server.console.audit_view import entry_reply
from fedaffect.server.console.feed import REFRESH, Event, Feed
from fedaffect.server.console.fleet_view import FleetView
from fedaffect.server.console.schemas import EntryReply, RoundReply
from fedaffect.server.registry import audit, rounds
from fedaffect.server.registry.audit import Entry

_AT_ONCE: Final = 200
_OF_ROUNDS: Final = "round."


class Happened(BaseModel):
    """An entry of the audit log, and the round that it is about."""

    entry: EntryReply
    run: str
    round: RoundReply | None


class UnderWay(BaseModel):
    """A round that goes on."""

    run: str
    round: RoundReply


class FleetFeed(Feed):
    """Tells entries of a fleet's audit log, and how many devices have answered in open rounds.

    Parameters
    ----------
    view : FleetView
    """

    def __init__(self, view: FleetView) -> None:
        super().__init__()
        self._view = view
        self._last = 0
        self._open: dict[tuple[str, int, int], RoundReply] = {}

    async def begin(self) -> None:
        self._last = (await asyncio.to_thread(audit.head, self._view.registry)).id
        self._open = {}

    async def look(self) -> Sequence[Event]:
        return await asyncio.to_thread(self._look)

    async def since(self, last: int) -> list[Event]:
        """Events behind one that a watcher had; that it must ask for all anew where there are too many or others."""
        return await asyncio.to_thread(self._since, last)

    def _since(self, last: int) -> list[Event]:
        head = audit.head(self._view.registry).id
        found = audit.after(self._view.registry, last, _AT_ONCE + 1)
        complete = last <= head and (not found or found[0].id == last + 1)
        if not complete or len(found) > _AT_ONCE:
            return [Event(REFRESH.kind, id=head)]
        return [self._event(entry) for entry in found]

    def _look(self) -> list[Event]:
        found = audit.after(self._view.registry, self._last, _AT_ONCE)
        if found:
            self._last = found[-1].id
        return [*(self._event(entry) for entry in found), *self._under_way()]

    def _event(self, entry: Entry) -> Event:
        run, reply = "", None
        if entry.action.startswith(_OF_ROUNDS):
            run, number, attempt = entry.subject.rsplit("/", 2)
            reply = self._view.round(run, int(number), int(attempt))
        elif entry.action.startswith("run."):
            run = entry.subject
        return Event.of("entry", Happened(entry=entry_reply(entry), run=run, round=reply), entry.id)

    def _under_way(self) -> list[Event]:
        changed = []
        now: dict[tuple[str, int, int], RoundReply] = {}
        for each in rounds.under_way(self._view.registry):
            key = each.run_id, each.round, each.attempt
            reply = self._view.round(*key)
            if reply is None:
                continue
            now[key] = reply
            if self._open.get(key) != reply:
                changed.append(Event.of("progress", UnderWay(run=each.run_id, round=reply)))
        self._open = now
        return changed
