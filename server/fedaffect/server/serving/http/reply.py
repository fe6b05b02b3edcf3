"""Answers and refusals as REST's JSON."""

from __future__ import annotations

import math
from typing import Any, Final

from fastapi.responses import JSONResponse

from fedaffect.server.errors import Overloaded, ServingError, Unauthenticated
from fedaffect.server.serving.gateway.gateway import Reply

# The device asked because it was unsure; see `fedaffect.edge.offload.Reason`.
_ASKED_BECAUSE: Final = "unsure"
# What was not read of the body would be taken for the next request.
_ENDS_CONNECTION: Final = frozenset({408, 413, 415, 503})


def prediction_body(reply: Reply) -> dict[str, Any]:
    """The keys of `fedaffect.edge.prediction.Prediction`, and the request's id."""
    answer = reply.answer
    body: dict[str, Any] = {
        "request_id": reply.request_id,
        "label": answer.label,
        "probabilities": dict(answer.probabilities),
        "confidence": answer.confidence,
        "source": "cloud",
        "modalities": list(answer.modalities),
        "latency_ms": reply.latency_ms,
        "model_version": answer.model_version,
        "offload_reason": _ASKED_BECAUSE,
        "notes": list(answer.notes),
    }
    if answer.transcript is not None:
        body["transcript"] = answer.transcript
    if answer.transcription_ms is not None:
        body["transcription_ms"] = answer.transcription_ms
    if answer.attention is not None:
        body["attention"] = answer.attention.to_json()
    if reply.adaptation is not None:
        body["adaptation"] = reply.adaptation.to_json()
    return body


def prediction(reply: Reply) -> JSONResponse:
    """An answer; where the time went stands in the header ``Server-Timing``."""
    timing = f"queue;dur={reply.answer.queue_ms:.2f}, compute;dur={reply.answer.compute_ms:.2f}"
    return JSONResponse(prediction_body(reply), headers={"Server-Timing": timing})


def error_body(error: ServingError) -> dict[str, Any]:
    """``{"error": {"type", "message"}}``."""
    return {"error": {"type": type(error).__name__, "message": str(error)}}


def refusal(error: ServingError) -> JSONResponse:
    """An error with its status and the headers that belong to it."""
    headers = {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if error.http_status in _ENDS_CONNECTION:
        headers["Connection"] = "close"
    return JSONResponse(error_body(error), status_code=error.http_status, headers=headers)
