"""The cloud's REST transport."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaffect.edge.adaptation.policy import Policy, languages
from fedaffect.edge.errors import DataError
from fedaffect.edge.system import tracing
from fedaffect.server.errors import InvalidRequest, ServingError, Unavailable
from fedaffect.server.serving.films.keeping import Keeping
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.gateway.gateway import Gateway, Question, features_of
from fedaffect.server.serving.gateway.request_log import log_unforeseen
from fedaffect.server.serving.http.body import decode_base64, feature_messages, read_json, read_prediction
from fedaffect.server.serving.http.bundles import bundle_routes
from fedaffect.server.serving.http.call import deadline_ms_of, peer_of, request_id_of, token_of
from fedaffect.server.serving.http.description import COMPONENTS, describe_bodies
from fedaffect.server.serving.http.feedback import take_feedback
from fedaffect.server.serving.http.film_schemas import FilmBody
from fedaffect.server.serving.http.films import film_routes
from fedaffect.server.serving.http.local_callers import LocalCallers
from fedaffect.server.serving.http.mounted import Mounted
from fedaffect.server.serving.http.page_files import page_routes
from fedaffect.server.serving.http.reply import error_body, prediction, prediction_body, refusal
from fedaffect.server.serving.http.schemas import (
    BatchBody,
    BatchReply,
    FeaturesBody,
    FeedbackBody,
    FeedbackReply,
    ModelReply,
    ModelsReply,
    PolicyReply,
    PredictBody,
    PredictionReply,
    StateReply,
    ThemeReply,
    refusals,
)
from fedaffect.server.serving.http.security import describe_keys
from fedaffect.server.serving.http.session_schemas import SessionBody, SessionChange
from fedaffect.server.serving.http.sessions import session_routes
from fedaffect.server.serving.http.websocket import stream_over_websocket

_COMMON: Final = (400, 401, 403, 429, 503)
_WORK: Final = (*_COMMON, 404, 408, 413, 415, 422, 504)
# OpenAPI has no word for WebSockets.
_DESCRIPTION: Final = """\
Emotion from face, voice and words. Media are opened, answered and forgotten; never logged.

`WS /v1/stream` answers a stream, a reply a window. The first message is JSON:
`{"sample_rate_hz": 16000, "window_s": 3, "hop_s": 0.5}`. Then come binary messages, a byte 0 and 16-bit mono PCM or
a byte 1 and a picture, and JSON `{"text": "..."}`; `{"end": true}` asks for the rest. `{"feedback": {...}}`, as
`/v1/feedback` takes it, is answered beside the windows, and ends no stream. The key is sent as
`Authorization: Bearer KEY`; from a browser, which cannot, as a subprotocol:
`new WebSocket(url, ["fedaffect.v1", "fedaffect.key." + key])`. Never put it into the address.
"""
_EXAMPLE_REPLY: Final = {
    "request_id": "9f1c6a52",
    "label": "joy",
    "probabilities": {"anger": 0.02, "joy": 0.91, "neutral": 0.05, "sadness": 0.02},
    "confidence": 0.91,
    "source": "cloud",
    "modalities": ["text"],
    "latency_ms": 12.4,
    "model_version": "cloud-1",
    "offload_reason": "unsure",
    "notes": [],
}


def rest_over(
    gateway: Gateway,
    origins: Collection[str] = (),
    films: Films | None = None,
    keeping: Keeping | None = None,
    mounted: Sequence[Mounted] = (),
) -> FastAPI:
    """The REST application over a gateway that another transport may share.

    Parameters
    ----------
    gateway : Gateway
    origins : collection of str
        Pages of other hosts, such as ``https://app.example``, that a browser may let call it (CORS). Never with
        cookies: keys come in a header of the page's own.
    films : Films, optional
        Of that gateway; whoever gives them closes them.
    keeping : Keeping, optional
        Likewise.
    mounted : sequence of Mounted
        What is served beside.
    """
    app = FastAPI(
        title="fedaffect",
        version="1",
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # What generated clients call their functions.
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(_predict_routes(gateway))
    films = films or Films(gateway)
    app.include_router(_feedback_routes(gateway, films))
    app.include_router(film_routes(gateway, films))
    app.include_router(session_routes(gateway, keeping or Keeping(gateway)))
    app.include_router(bundle_routes(gateway))
    app.include_router(_state_routes(gateway))
    for each in mounted:
        app.include_router(each.router)
    app.include_router(page_routes())

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await stream_over_websocket(socket, gateway)

    bodies = [body for each in mounted for body in each.bodies]
    describe_bodies(
        app, PredictBody, BatchBody, FeaturesBody, FeedbackBody, FilmBody, SessionBody, SessionChange, *bodies
    )
    describe_keys(app, lambda: gateway.asks_for_keys)
    app.add_exception_handler(ServingError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_exception_handler(RequestValidationError, _refuse_parameters)
    app.add_middleware(LocalCallers, gateway=gateway, origins=origins)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Idempotency-Key", "Upload-Offset", "X-Deadline-Ms"],
            expose_headers=["Retry-After", "Server-Timing"],
        )
    app.add_middleware(_LastResort)
    if tracing.is_on():
        app.add_middleware(_Traced)
    return app


def _predict_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["predict"])

    @router.post(
        "/predict",
        response_model=PredictionReply,
        responses={200: _json_example(_EXAMPLE_REPLY), **refusals(*_WORK)},
        openapi_extra=_described_body(PredictBody, {"text": "I could not be happier"}, multipart=True),
        summary="Emotion of one sample",
    )
    async def predict(request: Request) -> Response:
        async with gateway.request("rest", "predict", token_of(request), peer_of(request), "predict") as context:
            gateway.check_room(context)
            header_ms = deadline_ms_of(request)
            body, audio, video = await read_prediction(request, gateway.limits)
            deadline_s = gateway.limits.deadline_s(context.arrived_s, body.deadline_ms, header_ms)
            body.request_id = request_id_of(request, body.request_id)
            return prediction(await gateway.predict(context, _question(body, audio, video, deadline_s)))

    @router.post(
        "/predict/batch",
        response_model=BatchReply,
        responses={200: _json_example({"replies": [_EXAMPLE_REPLY]}), **refusals(*_WORK)},
        openapi_extra=_described_body(BatchBody, {"requests": [{"text": "I could not be happier"}, {"text": "Well."}]}),
        summary="Emotion of several samples, each answered or refused by itself",
    )
    async def predict_batch(request: Request) -> Response:
        async with gateway.request("rest", "predict_batch", token_of(request), peer_of(request), "predict") as context:
            gateway.check_room(context)
            header_ms = deadline_ms_of(request)
            asked = (await read_json(request, BatchBody, gateway.limits)).requests

            async def answer(place: int, body: PredictBody) -> dict[str, Any]:
                own = replace(context, facts={})
                try:
                    if place:
                        await gateway.charge(token_of(request), "predict")
                    audio, video = decode_base64(body.audio, "audio"), decode_base64(body.video, "video")
                    deadline_s = gateway.limits.deadline_s(context.arrived_s, body.deadline_ms, header_ms)
                    return prediction_body(await gateway.predict(own, _question(body, audio, video, deadline_s)))
                except ServingError as error:
                    return error_body(error)
                except DataError as error:
                    return error_body(InvalidRequest(str(error)))

            replies = await asyncio.gather(*(answer(place, body) for place, body in enumerate(asked)))
            context.facts |= {"samples": len(replies), "refused": sum("error" in reply for reply in replies)}
            return JSONResponse({"replies": replies})

    @router.post(
        "/predict/features",
        response_model=PredictionReply,
        responses={200: _json_example(_EXAMPLE_REPLY), **refusals(*_WORK)},
        openapi_extra=_described_body(
            FeaturesBody,
            {"features": {"audio": {"encoder_key": "3f9a", "rows": 1, "width": 4, "values": "ADwAPAA8ADw="}}},
        ),
        summary="Emotion of what a device's own encoders made of a sample",
    )
    async def predict_features(request: Request) -> Response:
        async with gateway.request(
            "rest", "predict_features", token_of(request), peer_of(request), "predict"
        ) as context:
            gateway.check_room(context)
            header_ms = deadline_ms_of(request)
            body = await read_json(request, FeaturesBody, gateway.limits)
            messages = feature_messages(body.features)
            question = Question(
                request_id=request_id_of(request, body.request_id),
                features=features_of(messages, gateway.limits),
                encoder_keys={modality: message.encoder_key for modality, message in messages.items()},
                bundle_version=body.bundle_version,
                model_version=body.model_version,
                attention=body.attention,
                adapt=body.adapt,
                deadline_s=gateway.limits.deadline_s(context.arrived_s, body.deadline_ms, header_ms),
            )
            return prediction(await gateway.predict(context, question))

    return router


def _question(body: PredictBody, audio: bytes | None, video: bytes | None, deadline_s: float) -> Question:
    return Question(
        request_id=body.request_id,
        text=body.text,
        audio=audio,
        video=video,
        model_version=body.model_version,
        transcribe=body.transcribe,
        attention=body.attention,
        adapt=body.adapt,
        deadline_s=deadline_s,
    )


def _feedback_routes(gateway: Gateway, films: Films) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["feedback"])

    @router.post(
        "/feedback",
        response_model=FeedbackReply,
        responses={200: _json_example({"accepted": True, "duplicate": False, "features": []}), **refusals(*_WORK)},
        openapi_extra=_described_body(
            FeedbackBody, {"idempotency_key": "e7d1", "request_id": "9f1c6a52", "label": "joy", "consent": False}
        ),
        summary="What the user said it really was; delivered as often as it takes, taken once",
    )
    async def give_feedback(request: Request) -> Response:
        async with gateway.request("rest", "feedback", token_of(request), peer_of(request), "feedback") as context:
            body = await read_json(request, FeedbackBody, gateway.limits)
            key = request.headers.get("idempotency-key", "")
            # As of a live answer: who consents need not send what the server made of the window itself.
            example = await asyncio.to_thread(films.example, context.caller, body.request_id) if body.consent else {}
            return JSONResponse(await take_feedback(gateway, context, body, key, example))

    return router


def _state_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/models", response_model=ModelsReply, responses=refusals(*_COMMON), tags=["models"])
    async def models(request: Request) -> Response:
        """Model versions being served, and what share of requests each gets."""
        async with gateway.request("rest", "models", token_of(request), peer_of(request), "predict"):
            served = [
                ModelReply(
                    version=m.version,
                    profile=m.profile,
                    label_set=m.label_set,
                    labels=list(m.labels),
                    modalities=list(m.modalities),
                    share=m.share,
                    random_init=m.random_init,
                ).model_dump()
                for m in gateway.engine.models()
            ]
            return JSONResponse({"models": served})

    @router.get(
        "/v1/adaptation",
        response_model=PolicyReply,
        responses=refusals(*_COMMON),
        tags=["predict"],
        summary="How apps are told to adapt: colours of the themes, speeds, languages",
    )
    async def adaptation_policy(request: Request) -> PolicyReply:
        async with gateway.request("rest", "adaptation", token_of(request), peer_of(request), "predict"):
            policy = Policy.read()
            themes = {name: ThemeReply.model_validate(theme) for name, theme in policy.themes.items()}
            return PolicyReply(
                version=policy.version, themes=themes, paces=dict(policy.paces), languages=list(languages())
            )

    @router.get("/livez", response_model=StateReply, responses=refusals(400), tags=["state"])
    async def livez() -> Response:
        """Whether the process runs; without a key."""
        return JSONResponse({"status": "alive"})

    @router.get("/readyz", response_model=StateReply, responses=refusals(400, 503), tags=["state"])
    async def readyz() -> Response:
        """Whether a request would be answered now; without a key."""
        if gateway.ready():
            return JSONResponse({"status": "ready"})
        return refusal(Unavailable("the server is stopping" if gateway.draining else "no model is loaded yet"))

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(*_COMMON)},
        tags=["state"],
    )
    async def metrics(request: Request) -> Response:
        """Counters and histograms for Prometheus, which tell how busy whose service is: a key with that scope."""
        async with gateway.request("rest", "metrics", token_of(request), peer_of(request), "metrics"):
            return Response(gateway.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    @router.get("/openapi.json", include_in_schema=False)
    async def description(request: Request) -> Response:
        async with gateway.request("rest", "description", token_of(request), peer_of(request), "predict"):
            return JSONResponse(request.app.openapi())

    return router


async def _refuse(_: Request, error: Exception) -> Response:
    return refusal(error if isinstance(error, ServingError) else ServingError("the server failed"))


async def _refuse_http(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    messages = {404: "there is nothing here; see /openapi.json", 405: "this path takes another method"}
    body = {"error": {"type": "HttpError", "message": messages.get(status, "this is no request for this server")}}
    return JSONResponse(body, status_code=status, headers=headers)


async def _refuse_parameters(_: Request, __: Exception) -> Response:
    return refusal(InvalidRequest("a part of the path is not what it may be; see /openapi.json"))


class _Traced:
    """Notes which trace a caller's request belongs to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = dict(scope.get("headers", ())).get(tracing.HEADER.encode(), b"")
        tracing.arrived(said.decode("latin-1"))
        await self._app(scope, receive, send)


class _LastResort:
    """Catches what no handler caught, so that no message of a library reaches caller or log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001 uvicorn would print it with its message
            number = log_unforeseen(error, "rest", scope["type"])
            if scope["type"] == "http" and not begun:
                await refusal(ServingError(f"the server failed; its operator finds the cause as {number}"))(
                    scope, receive, send
                )


def _json_example(example: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"example": example}}}


def _described_body(kind: type[Any], example: dict[str, Any], *, multipart: bool = False) -> dict[str, Any]:
    """OpenAPI of a body that the handler reads itself."""
    schema = {"$ref": f"{COMPONENTS}{kind.__name__}"}
    content: dict[str, Any] = {"application/json": {"schema": schema, "example": example}}
    if multipart:
        binary = {"type": "string", "format": "binary"}
        described = kind.model_json_schema()["properties"]
        properties = {
            "request_id": described["request_id"],
            "text": {"type": "string"},
            "audio": binary,
            "video": binary,
            "model_version": {"type": "string", "maxLength": 200},
            "transcribe": {"type": "boolean"},
            "attention": {"type": "boolean"},
            "adapt": described["adapt"],
            "deadline_ms": {"type": "integer", "minimum": 1, "maximum": 2**32 - 1},
        }
        form = {"type": "object", "properties": properties, "additionalProperties": False}
        content["multipart/form-data"] = {"schema": form}
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [
            {
                "name": "X-Deadline-Ms",
                "in": "header",
                "required": False,
                "schema": {"type": "integer", "minimum": 1, "maximum": 2**32 - 1},
                "description": "Time left when this was sent; the shorter of this and deadline_ms counts.",
            },
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"},
                "description": "Stands for the id where the body has none.",
            },
        ],
    }
