"""The fleet, its runs and its audit log, for whoever may look."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import StreamingResponse

from fedaffect.server.console.calling import called, reached
from fedaffect.server.console.console import Console
from fedaffect.server.console.schemas import AuditReply, ChainReply, FleetReply, FleetRunReply, ParticipantsReply
from fedaffect.server.console.streaming import Streams, last_event

EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Server-sent events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
_Text = Annotated[str, Query(max_length=300)]
_Count = Annotated[int, Path(ge=1, lt=2**31)]
_Id = Annotated[str, Path(max_length=64)]


def fleet_routes(console: Console, streams: Streams) -> APIRouter:
    """``/fleet`` and ``/audit``."""
    router, doors, view = APIRouter(), console.doors, console.fleet

    @router.get("/fleet")
    async def fleet(request: Request) -> FleetReply:
        """Devices, runs, rollouts and bundles as they stand."""
        await reached(doors.viewer(request))
        return await called(view.fleet)

    @router.get("/fleet/events", response_class=StreamingResponse, responses=EVENTS)
    async def fleet_events(request: Request) -> StreamingResponse:
        """What happens; `Last-Event-ID` goes on behind an entry.

        `entry` is an entry of the audit log and the round that it is about, `progress` a round that goes on;
        `refresh` says that a watcher must ask for all anew.
        """
        visitor = await reached(doors.viewer(request))
        last = last_event(request)
        missed = [] if last is None else await reached(console.fleet_feed.since(last))
        return streams.of(console.fleet_feed, visitor, missed)

    @router.get("/fleet/runs/{run_id}")
    async def fleet_run(request: Request, run_id: _Id) -> FleetRunReply:
        """A run with all its rounds."""
        await reached(doors.viewer(request))
        return await called(lambda: view.run(run_id))

    @router.get("/fleet/runs/{run_id}/rounds/{number}/{attempt}")
    async def fleet_round(request: Request, run_id: _Id, number: _Count, attempt: _Count) -> ParticipantsReply:
        """Who took part in an attempt at a round, by name, group and labels, and how."""
        await reached(doors.viewer(request))
        found = await called(lambda: view.participants(run_id, number, attempt))
        return ParticipantsReply(participants=found)

    @router.get("/audit")
    async def audit_log(
        request: Request,
        log: _Text = "",
        action: _Text = "",
        subject: _Text = "",
        before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> AuditReply:
        """Entries whose action and subject begin so, newest first."""
        await reached(doors.viewer(request))
        return await called(lambda: console.audit.entries(log, action, subject, before, limit))

    @router.get("/audit/check")
    async def check_audit_log(
        request: Request, log: _Text = "", expected: Annotated[str, Query(max_length=100)] = ""
    ) -> ChainReply:
        """Recompute the chain of the audit log, and hold it against a head that was kept elsewhere."""
        await reached(doors.viewer(request))
        return await called(lambda: console.audit.check(log, expected))

    return router
