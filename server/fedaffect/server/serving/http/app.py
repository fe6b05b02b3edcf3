"""The cloud's REST transport."""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.server.errors import InvalidRequest, ServingError, Unavailable
from fedaffect.server.registry import feedback
from fedaffect.server.serving.gateway.gateway import Gateway, Question, features_of
from fedaffect.server.serving.gateway.request_log import log_unforeseen
from fedaffect.server.serving.http.body import feature_messages, read_json, read_prediction
from fedaffect.server.serving.http.bundles import bundle_routes
from fedaffect.server.serving.http.call import deadline_ms_of, peer_of, request_id_of, token_of
from fedaffect.server.serving.http.local_callers import LocalCallers
from fedaffect.server.serving.http.reply import prediction, refusal
from fedaffect.server.serving.http.schemas import (
    FeaturesBody,
    FeedbackBody,
    FeedbackReply,
    ModelReply,
    ModelsReply,
    PredictBody,
    PredictionReply,
    StateReply,
    refusals,
)
from fedaffect.server.serving.http.security import describe_keys
from fedaffect.server.serving.http.websocket import stream_over_websocket

_COMMON: Final = (400, 401, 403, 429, 503)
_WORK: Final = (*_COMMON, 404, 408, 413, 415, 422, 504)
# OpenAPI has no word for WebSockets.
_DESCRIPTION: Final = """\
Emotion from face, voice and words. Media are opened, answered and forgotten; never logged.

`WS /v1/stream` answers a stream, a reply a window. The first message is JSON:
`{"sample_rate_hz": 16000, "window_s": 3, "hop_s": 0.5}`. Then come binary messages, a byte 0 and 16-bit mono PCM or
a byte 1 and a picture, and JSON `{"text": "..."}`; `{"end": true}` asks for the rest. The key is sent as
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


def rest_over(gateway: Gateway) -> FastAPI:
    """The REST application over a gateway that another transport may share."""
    app = FastAPI(
        title="fedaffect",
        version="1",
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_predict_routes(gateway))
    app.include_router(_feedback_routes(gateway))
    app.include_router(bundle_routes(gateway))
    app.include_router(_state_routes(gateway))

    @app.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        await stream_over_websocket(socket, gateway)

    describe_keys(app, lambda: gateway.asks_for_keys)
    app.add_exception_handler(ServingError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_exception_handler(RequestValidationError, _refuse_parameters)
    app.add_middleware(LocalCallers, gateway=gateway)
    app.add_middleware(_LastResort)
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
            question = Question(
                request_id=request_id_of(request, body.request_id),
                text=body.text,
                audio=audio,
                video=video,
                model_version=body.model_version,
                transcribe=body.transcribe,
                deadline_s=gateway.limits.deadline_s(context.arrived_s, body.deadline_ms, header_ms),
            )
            return prediction(await gateway.predict(context, question))

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
                deadline_s=gateway.limits.deadline_s(context.arrived_s, body.deadline_ms, header_ms),
            )
            return prediction(await gateway.predict(context, question))

    return router


def _feedback_routes(gateway: Gateway) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["feedback"])

    @router.post(
        "/feedback",
        response_model=FeedbackReply,
        responses={200: _json_example({"accepted": True, "duplicate": False}), **refusals(*_WORK)},
        openapi_extra=_described_body(
            FeedbackBody, {"idempotency_key": "e7d1", "request_id": "9f1c6a52", "label": "joy", "consent": False}
        ),
        summary="What the user said it really was; delivered as often as it takes, taken once",
    )
    async def give_feedback(request: Request) -> Response:
        async with gateway.request("rest", "feedback", token_of(request), peer_of(request), "feedback") as context:
            body = await read_json(request, FeedbackBody, gateway.limits)
            messages = feature_messages(body.features)
            features_of(messages, gateway.limits)
            given = feedback.Feedback(
                idempotency_key=body.idempotency_key or request.headers.get("idempotency-key", ""),
                request_id=body.request_id,
                label=body.label,
                consent=body.consent,
                model_version=body.model_version,
                features=pb.FeedbackRequest(features=messages).SerializeToString() if messages else None,
            )
            duplicate = await gateway.feedback(context, given, messages)
            return JSONResponse({"accepted": True, "duplicate": duplicate})

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
    schema = json.loads(json.dumps(_inlined(kind.model_json_schema())))
    content: dict[str, Any] = {"application/json": {"schema": schema, "example": example}}
    if multipart:
        binary = {"type": "string", "format": "binary"}
        properties = {
            "request_id": schema["properties"]["request_id"],
            "text": {"type": "string"},
            "audio": binary,
            "video": binary,
            "model_version": {"type": "string", "maxLength": 200},
            "transcribe": {"type": "boolean"},
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


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema without references: OpenAPI's are relative to the whole document."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(definitions[node["$ref"].rpartition("/")[2]])
            return {name: resolve(value) for name, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved
