"""`/v1/sessions`: what a person chose to keep; each key sees its own."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from fedaffect.server.serving.films.keeping import Keeping
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.body import read_json
from fedaffect.server.serving.http.call import peer_of, token_of
from fedaffect.server.serving.http.description import COMPONENTS
from fedaffect.server.serving.http.schemas import StateReply, refusals
from fedaffect.server.serving.http.session_schemas import (
    KeptSessionReply,
    SessionBody,
    SessionChange,
    SessionReply,
    SessionsReply,
    session_reply,
)

_ID: Final = PathParameter(pattern="^[0-9a-f]{32}$")
_FAULTS: Final = (400, 401, 403, 404, 422, 429, 503)
_WITH_BODY: Final = (*_FAULTS, 408, 413, 415)


def session_routes(gateway: Gateway, keeping: Keeping) -> APIRouter:
    """The routes of kept sessions."""
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

    @router.post(
        "",
        status_code=201,
        response_model=SessionReply,
        responses=refusals(*_WITH_BODY),
        openapi_extra=_body(SessionBody),
        summary="Keep a session",
    )
    async def keep_session(request: Request) -> Response:
        async with _call(gateway, request, "session_keep") as context:
            body = await read_json(request, SessionBody, gateway.limits)
            timeline = body.timeline.model_dump()
            session = await keeping.keep(context.caller, body.kind, body.name, body.notes, timeline)
            return JSONResponse(session_reply(session, keeping), status_code=201)

    @router.get("", response_model=SessionsReply, responses=refusals(*_FAULTS), summary="What was kept")
    async def kept_sessions(request: Request) -> Response:
        async with _call(gateway, request, "sessions") as context:
            kept = await keeping.every(context.caller)
            sessions = [session_reply(session, keeping) for session in kept]
            return JSONResponse({"keep_days": keeping.days, "sessions": sessions})

    @router.get(
        "/{session_id}", response_model=KeptSessionReply, responses=refusals(*_FAULTS), summary="One with its timeline"
    )
    async def kept_session(request: Request, session_id: str = _ID) -> Response:
        async with _call(gateway, request, "session") as context:
            session, timeline = await keeping.find(context.caller, session_id)
            return JSONResponse({"session": session_reply(session, keeping), "timeline": timeline})

    @router.patch(
        "/{session_id}",
        response_model=StateReply,
        responses=refusals(*_WITH_BODY),
        openapi_extra=_body(SessionChange),
        summary="Change a session's name or notes",
    )
    async def describe_session(request: Request, session_id: str = _ID) -> Response:
        async with _call(gateway, request, "session_describe") as context:
            body = await read_json(request, SessionChange, gateway.limits)
            await keeping.describe(context.caller, session_id, body.name, body.notes)
            return JSONResponse({"status": "changed"})

    @router.delete(
        "/{session_id}", response_model=StateReply, responses=refusals(*_FAULTS), summary="Delete a session for good"
    )
    async def delete_session(request: Request, session_id: str = _ID) -> Response:
        async with _call(gateway, request, "session_delete") as context:
            await keeping.erase(context.caller, session_id)
            return JSONResponse({"status": "deleted"})

    return router


def _call(gateway: Gateway, request: Request, method: str) -> Any:
    return gateway.request("rest", method, token_of(request), peer_of(request), "predict")


def _body(kind: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": f"{COMPONENTS}{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
