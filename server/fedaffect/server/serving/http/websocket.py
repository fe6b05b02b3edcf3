"""`WS /v1/stream`: settings first, then sound, pictures and words; a reply a window."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fedaffect.server.errors import InvalidRequest, ServingError, Unavailable
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.stream import Chunk, StreamSettings, answer_stream
from fedaffect.server.serving.http.body import parse_json
from fedaffect.server.serving.http.call import peer_of, stream_protocol_of, stream_token_of
from fedaffect.server.serving.http.feedback import take_feedback
from fedaffect.server.serving.http.reply import error_body, prediction_body
from fedaffect.server.serving.http.schemas import FeedbackBody

_PCM: Final = 0
_PICTURE: Final = 1
_DONE: Final = 1000
_BAD: Final = 1008
_AGAIN: Final = 1013


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    sample_rate_hz: int = 16_000
    window_s: float = Field(3.0, allow_inf_nan=False)
    hop_s: float = Field(0.5, allow_inf_nan=False)
    adapt: str = Field("", max_length=20)


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = ""
    time_s: float | None = Field(None, allow_inf_nan=False)
    end: bool = False
    feedback: FeedbackBody | None = None


async def stream_over_websocket(socket: WebSocket, gateway: Gateway) -> None:
    """Answer one WebSocket.

    The first message is JSON ``{"sample_rate_hz", "window_s", "hop_s", "adapt"}``, all optional; ``adapt`` is the
    language in which to say how an app should adapt. Then binary messages of one byte kind (0 PCM, 1 picture) and
    payload, or JSON ``{"text", "time_s"}``; ``{"end": true}`` asks for the last window. A refusal is sent as
    ``{"error": ...}`` before the connection is closed. ``{"feedback": ...}`` says of an earlier answer what it really
    was; ``{"feedback": ...}`` comes back, with the refusal in it where there is one.

    The key comes as ``Authorization: Bearer KEY``, or from a browser as a subprotocol beside ours:
    ``new WebSocket(url, ["fedaffect.v1", "fedaffect.key." + key])``.
    """
    await socket.accept(stream_protocol_of(socket))
    try:
        async with (
            gateway.request("rest", "stream", stream_token_of(socket), peer_of(socket), "predict") as context,
            gateway.stream_of(context.caller),
        ):
            # Who hangs up is no failure of the server's: a browser does so when its tab is closed.
            with suppress(WebSocketDisconnect):
                given = parse_json(await _first(socket), _Settings)
                settings = StreamSettings(given.sample_rate_hz, given.window_s, given.hop_s, given.adapt)
                async for item in answer_stream(gateway, context, settings, _chunks(socket, gateway)):
                    window = {
                        "session": item.session,
                        "window_start_s": item.window.start_s,
                        "window_end_s": item.window.end_s,
                    }
                    await socket.send_text(json.dumps(prediction_body(item.reply) | window))
        await _close(socket, _DONE)
    except WebSocketDisconnect:
        return
    except ServingError as error:
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.send_text(json.dumps(error_body(error)))
        await _close(socket, _AGAIN if isinstance(error, Unavailable) else _BAD)


async def _first(socket: WebSocket) -> str:
    message = await _receive(socket)
    if message.get("text") is None:
        raise InvalidRequest("the first message is JSON with sample_rate_hz, window_s and hop_s")
    return str(message["text"])


async def _chunks(socket: WebSocket, gateway: Gateway) -> AsyncIterator[Chunk]:
    while True:
        message = await _receive(socket)
        data: bytes | None = message.get("bytes")
        if data is not None:
            if not data or data[0] not in (_PCM, _PICTURE):
                raise InvalidRequest("a binary message begins with 0 for PCM or 1 for a picture")
            yield Chunk(pcm=data[1:]) if data[0] == _PCM else Chunk(picture=data[1:])
            continue
        words = parse_json(message.get("text") or "", _Message)
        if words.feedback is not None:
            await _hear(socket, gateway, words.feedback)
        if words.text:
            yield Chunk(text=words.text, time_s=words.time_s)
        if words.end:
            return


async def _hear(socket: WebSocket, gateway: Gateway, said: FeedbackBody) -> None:
    """Take feedback beside the stream: a request of its own, whose refusal does not end the stream."""
    try:
        async with gateway.request("rest", "feedback", stream_token_of(socket), peer_of(socket), "feedback") as context:
            became = await take_feedback(gateway, context, said)
    except ServingError as error:
        became = {"accepted": False, **error_body(error)}
    await socket.send_text(json.dumps({"feedback": {"request_id": said.request_id, **became}}))


async def _receive(socket: WebSocket) -> dict[str, Any]:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
    return dict(message)


async def _close(socket: WebSocket, code: int) -> None:
    if socket.client_state is WebSocketState.CONNECTED and socket.application_state is WebSocketState.CONNECTED:
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.close(code)
