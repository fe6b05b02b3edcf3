"""`/v1/films`: a film sent in pieces, how it stands, its timeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from fedaffect.server.errors import InvalidRequest
from fedaffect.server.serving.films.exports import as_csv, as_subtitles
from fedaffect.server.serving.films.film import Film
from fedaffect.server.serving.films.limits import FilmSettings
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.limits import Limits, TooSlow, UnsupportedMedia
from fedaffect.server.serving.http.body import read_json
from fedaffect.server.serving.http.call import peer_of, token_of
from fedaffect.server.serving.http.description import COMPONENTS
from fedaffect.server.serving.http.film_schemas import (
    FilmBody,
    FilmReply,
    TimelineReply,
    film_reply,
    timeline_reply,
)
from fedaffect.server.serving.http.schemas import StateReply, refusals

_ID: Final = PathParameter(pattern="^[0-9a-f]{32}$")
_FAULTS: Final = (400, 401, 403, 404, 422, 429, 503)
_BINARY: Final = {"type": "string", "format": "binary"}
_OFFSET: Final = "upload-offset"


def film_routes(gateway: Gateway, films: Films) -> APIRouter:
    """The routes of films; a film belongs to the key that began it."""
    router = APIRouter(prefix="/v1/films", tags=["films"])

    @router.post(
        "",
        status_code=201,
        response_model=FilmReply,
        responses=refusals(*_FAULTS, 408, 413, 415),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {"$ref": f"{COMPONENTS}{FilmBody.__name__}"},
                        "example": {"size_bytes": 1048576},
                    }
                },
            }
        },
        summary="Begin to send a film",
    )
    async def begin_film(request: Request) -> Response:
        async with _call(gateway, request, "film_begin") as context:
            body = await read_json(request, FilmBody, gateway.limits)
            film = films.create(context.caller, body.size_bytes, FilmSettings(body.window_s, body.hop_s))
            return _answered(film, 201)

    @router.get("/{film_id}", response_model=FilmReply, responses=refusals(*_FAULTS), summary="How a film stands")
    async def film_state(request: Request, film_id: str = _ID) -> Response:
        async with _call(gateway, request, "film_state") as context:
            return _answered(films.find(context.caller, film_id))

    @router.patch(
        "/{film_id}",
        response_model=FilmReply,
        responses=refusals(*_FAULTS, 408, 409, 413, 415),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": _BINARY}}},
            "parameters": [
                {
                    "name": "Upload-Offset",
                    "in": "header",
                    "required": True,
                    "schema": {"type": "integer", "minimum": 0, "maximum": 2**53},
                    "description": "Where in the film these bytes begin: what the server confirmed up to now.",
                }
            ],
        },
        summary="Send the next bytes of a film; what came is confirmed also where the connection ends",
    )
    async def append_to_film(request: Request, film_id: str = _ID) -> Response:
        async with _call(gateway, request, "film_append") as context:
            film = films.find(context.caller, film_id)
            if request.headers.get("content-encoding", "identity").lower() != "identity":
                raise UnsupportedMedia("the body is compressed; send the film's bytes as they are")
            try:
                async with asyncio.timeout(gateway.limits.body_s):
                    await films.append(film, _offset(request), _chunks(request, gateway.limits))
            except TimeoutError:
                raise TooSlow("these bytes came too slowly; ask what was confirmed and send less at once") from None
            context.facts["received"] = film.received_bytes
            return _answered(film)

    @router.delete(
        "/{film_id}", response_model=StateReply, responses=refusals(*_FAULTS), summary="Give a film up and forget it"
    )
    async def forget_film(request: Request, film_id: str = _ID) -> Response:
        async with _call(gateway, request, "film_forget") as context:
            films.forget(films.find(context.caller, film_id))
            return JSONResponse({"status": "forgotten"})

    @router.get(
        "/{film_id}/timeline",
        response_model=TimelineReply,
        responses=refusals(*_FAULTS),
        summary="What was found in a film, as far as it is analysed",
    )
    async def film_timeline(
        request: Request, film_id: str = _ID, first: int = Query(0, ge=0, description="Leave out windows before.")
    ) -> Response:
        async with _call(gateway, request, "film_timeline") as context:
            film = films.find(context.caller, film_id)
            return Response(timeline_reply(film, first).model_dump_json(), media_type="application/json")

    @router.get(
        "/{film_id}/timeline.csv",
        response_class=Response,
        responses={200: _text("text/csv"), **refusals(*_FAULTS)},
        summary="The timeline as a table: a row for each window and lane",
    )
    async def film_table(request: Request, film_id: str = _ID) -> Response:
        async with _call(gateway, request, "film_table") as context:
            film = films.find(context.caller, film_id)
            return Response(as_csv(film.timeline), media_type="text/csv")

    @router.get(
        "/{film_id}/subtitles.vtt",
        response_class=Response,
        responses={200: _text("text/vtt"), **refusals(*_FAULTS)},
        summary="Words and emotions as WebVTT",
    )
    async def film_subtitles(request: Request, film_id: str = _ID) -> Response:
        async with _call(gateway, request, "film_subtitles") as context:
            film = films.find(context.caller, film_id)
            return Response(as_subtitles(film.timeline), media_type="text/vtt")

    return router


def _call(gateway: Gateway, request: Request, method: str) -> Any:
    return gateway.request("rest", method, token_of(request), peer_of(request), "predict")


def _answered(film: Film, status: int = 200) -> Response:
    return Response(film_reply(film).model_dump_json(), status, media_type="application/json")


def _text(kind: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": {"type": "string"}}}}


def _offset(request: Request) -> int:
    given = request.headers.get(_OFFSET, "")
    if not (given.isascii() and given.isdigit() and len(given) <= 16):
        raise InvalidRequest("Upload-Offset is the number of bytes that the server has confirmed; send it as a header")
    return int(given)


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """A body as it comes, within the limits of one."""
    count = 0
    try:
        async for chunk in request.stream():
            count += len(chunk)
            limits.body(count)
            yield chunk
    except ClientDisconnect:
        raise InvalidRequest("the connection ended before the bytes did; what came is confirmed") from None
