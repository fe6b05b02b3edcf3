"""`WS /v1/stream`: settings first, then sound, pictures and words; a reply a window."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from fedaffect.server.errors import InvalidRequest, ServingError, Unavailable
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.live import AtHand, LiveChunk, answer_live
from fedaffect.server.serving.gateway.stream import Chunk, StreamSettings, answer_stream
from fedaffect.server.serving.http.body import parse_json
from fedaffect.server.serving.http.call import peer_of, stream_protocol_of, stream_token_of
from fedaffect.server.serving.http.feedback import take_feedback
from fedaffect.server.serving.http.live_reply import live_body
from fedaffect.server.serving.http.reply import error_body, prediction_body
from fedaffect.server.serving.http.schemas import FeedbackBody

_PCM: Final = 0
_PICTURE: Final = 1
_TIMED_PICTURE: Final = 2
_TIME: Final = struct.Struct("<d")
_DONE: Final = 1000
_BAD: Final = 1008
_AGAIN: Final = 1013


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    sample_rate_hz: int = 16_000
    window_s: float = Field(3.0, allow_inf_nan=False)
    hop_s: float = Field(0.5, allow_inf_nan=False)
    adapt: str = Field("", max_length=20)
    live: bool = False


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = ""
    time_s: float | None = Field(None, allow_inf_nan=False)
    end: bool = False
    feedback: FeedbackBody | None = None
    hold: str | None = Field(None, max_length=200)


async def stream_over_websocket(socket: WebSocket, gateway: Gateway) -> None:
    """Answer one WebSocket.

    The first message is JSON ``{"sample_rate_hz", "window_s", "hop_s", "adapt", "live"}``, all optional; ``adapt`` is
    the language in which to say how an app should adapt. Then binary messages of one byte kind (0 PCM, 1 picture) and
    payload, or JSON ``{"text", "time_s"}``; ``{"end": true}`` asks for the last window. A refusal is sent as
    ``{"error": ...}`` before the connection is closed. ``{"feedback": ...}`` says of an earlier answer what it really
    was; ``{"feedback": ...}`` comes back, with the refusal in it where there is one.

    With ``"live": true`` windows are not cut each hop: the newest picture is answered as soon as there is time, with
    faces, what each modality says alone, and how much it weighed. Kind 2 is a picture behind the time, a little-endian
    float64, at which it was taken; the answer brings that back as ``picture_time_s``. Features of the newest answers
    are at hand in memory: feedback that consents gets those of its answer, and ``{"hold": request_id}`` keeps them
    there while somebody thinks. Nothing of it is stored otherwise.

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
                if given.live:
                    at_hand = AtHand()
                    incoming = _live_chunks(socket, gateway, at_hand)
                    async for told in answer_live(gateway, context, settings, incoming, at_hand):
                        await socket.send_text(json.dumps(live_body(told)))
                    await _close(socket, _DONE)
                    return
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


async def _live_chunks(socket: WebSocket, gateway: Gateway, at_hand: AtHand) -> AsyncIterator[LiveChunk]:
    while True:
        message = await _receive(socket)
        data: bytes | None = message.get("bytes")
        if data is not None:
            yield _live_chunk(data)
            continue
        words = parse_json(message.get("text") or "", _Message)
        if words.hold is not None:
            at_hand.hold(words.hold)
        if words.feedback is not None:
            await _hear(socket, gateway, words.feedback, at_hand)
        if words.text:
            yield LiveChunk(text=words.text)
        if words.end:
            return


def _live_chunk(data: bytes) -> LiveChunk:
    kind = data[0] if data else None
    if kind == _PCM:
        return LiveChunk(pcm=data[1:])
    if kind == _PICTURE:
        return LiveChunk(picture=data[1:])
    if kind == _TIMED_PICTURE and len(data) > 1 + _TIME.size:
        (time_s,) = _TIME.unpack_from(data, 1)
        if not math.isfinite(time_s):
            raise InvalidRequest("the time of a picture is a finite number of seconds")
        return LiveChunk(picture=data[1 + _TIME.size :], time_s=time_s)
    raise InvalidRequest("a binary message begins with 0 for PCM, 1 for a picture, or 2 for a time and a picture")


async def _hear(socket: WebSocket, gateway: Gateway, said: FeedbackBody, at_hand: AtHand | None = None) -> None:
    """Take feedback beside the stream: a request of its own, whose refusal does not end the stream."""
    features = at_hand.features(said.request_id) if at_hand is not None and said.consent else {}
    try:
        async with gateway.request("rest", "feedback", stream_token_of(socket), peer_of(socket), "feedback") as context:
            became = await take_feedback(gateway, context, said, features=features)
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
