"""Run folders of simulations, for whoever may look."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from fedaffect.server.console.calling import body, called, reached
from fedaffect.server.console.console import Console
from fedaffect.server.console.fleet_routes import EVENTS
from fedaffect.server.console.schemas import (
    LIMITS,
    ComparisonBody,
    ComparisonsReply,
    RecordedRunDetailReply,
    RecordedRunsReply,
)
from fedaffect.server.console.streaming import Streams
from fedaffect.server.serving.http.body import read_json


def research_routes(console: Console, streams: Streams) -> APIRouter:
    """``/research``."""
    router, doors, research = APIRouter(), console.doors, console.research

    @router.get("/research")
    async def recorded_runs(request: Request) -> RecordedRunsReply:
        """All run folders."""
        await reached(doors.viewer(request))
        return await called(research.listed)

    @router.get("/research/events", response_class=StreamingResponse, responses=EVENTS)
    async def research_events(request: Request) -> StreamingResponse:
        """What happens from now on; a watcher asks for all anew after `open`, as nothing is repeated.

        `rounds` are those that a run wrote, `runs` says that there are others than before.
        """
        visitor = await reached(doors.viewer(request))
        await called(lambda: research.reader)
        return streams.of(console.research_feed, visitor)

    @router.get("/research/run")
    async def recorded_run(request: Request, name: Annotated[str, Query(max_length=300)]) -> RecordedRunDetailReply:
        """One run folder; its name is a parameter, as those of sweeps have a slash."""
        await reached(doors.viewer(request))
        return await called(lambda: research.shown(name))

    @router.post("/research/compare", openapi_extra=body(ComparisonBody))
    async def compare_runs(request: Request) -> ComparisonsReply:
        """Each further run or sweep's setting against the first, as `fedaffect runs compare` says it."""
        await reached(doors.viewer(request, writes=True))
        given = await read_json(request, ComparisonBody, LIMITS)
        return ComparisonsReply(comparisons=await called(lambda: research.compared(given.runs)))

    return router
