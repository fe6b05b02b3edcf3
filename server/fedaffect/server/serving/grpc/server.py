"""The cloud's gRPC transport."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from fedaffect.edge.attention import Attention
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.system import tracing
from fedaffect.server.errors import InvalidRequest, Overloaded, RequestTooLarge, ServingError
from fedaffect.server.registry import feedback
from fedaffect.server.serving.gateway.bundle_bytes import RangeNotSatisfiable, chunks_of
from fedaffect.server.serving.gateway.gateway import Gateway, Question, Reply, features_of
from fedaffect.server.serving.gateway.limits import Limits, TooSlow
from fedaffect.server.serving.gateway.stream import Chunk, StreamSettings, answer_stream

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Affect"].full_name
# Field names and lengths around the media. What is a little too large is refused here, with a reason; gRPC itself only
# says that a resource is exhausted, which sounds like "come back later".
_ENVELOPE_BYTES: Final = 64 * 1024
_A_LITTLE: Final = 8
_RETRY_AFTER: Final = "retry-after"
_MS: Final = 1000.0

Asked = TypeVar("Asked", bound=Message)
Rpc: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class GrpcTransport:
    """A gRPC server over a gateway: ``fedaffect.v1.Affect``, health and reflection.

    Messages are parsed here and not by gRPC, whose own answer to bytes that are no message is an internal error. Every
    call is taken as a stream of messages, which looks the same on the wire: gRPC would read the one message of a plain
    call before anybody asked who is calling.

    Parameters
    ----------
    gateway : Gateway
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        limits = gateway.limits
        self._server = grpc.aio.server(
            options=[
                (
                    "grpc.max_receive_message_length",
                    limits.body_bytes + limits.body_bytes // _A_LITTLE + _ENVELOPE_BYTES,
                ),
                ("grpc.so_reuseport", 0),
                # A device keeps its connection; dead ones are found out.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.http2.max_ping_strikes", 5),
            ]
        )
        methods = {
            "Predict": grpc.stream_unary_rpc_method_handler(self._predict),
            "PredictStream": grpc.stream_stream_rpc_method_handler(self._predict_stream),
            "Feedback": grpc.stream_unary_rpc_method_handler(self._feedback),
            "GetBundle": grpc.stream_stream_rpc_method_handler(self._get_bundle),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Open a port, 0 for a free one; with credentials, for TLS only.

        Returns
        -------
        int
            The port.

        Raises
        ------
        OSError
            If it is taken.
        """
        try:
            if credentials is None:
                return self._server.add_insecure_port(address)
            return self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}; choose another --grpc-port") from error

    async def start(self) -> None:
        """Take calls."""
        await self._server.start()
        await self.show_readiness()

    async def show_readiness(self) -> None:
        """Bring the health service up to date."""
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        status = serving if self._gateway.ready() else not_serving
        await self._health.set("", status)
        await self._health.set(SERVICE, status)

    async def stop(self, grace_s: float) -> None:
        """Take nothing new, and give what is under way so much time."""
        await self._server.stop(grace_s)

    async def _predict(self, messages: AsyncIterator[bytes], rpc: Rpc) -> bytes:
        async def answer() -> bytes:
            async with self._request(rpc, "predict", "predict") as context:
                self._gateway.check_room(context)
                data = await self._message(messages)
                asked = _parse(data, pb.PredictRequest)
                self._gateway.limits.body(len(data) - _ENVELOPE_BYTES)
                question = _question(asked, self._gateway.limits, context.arrived_s, rpc.time_remaining())
                return _reply(await self._gateway.predict(context, question)).SerializeToString()

        return await _or_abort(answer, rpc)

    async def _predict_stream(self, chunks: AsyncIterator[bytes], rpc: Rpc) -> AsyncIterator[bytes]:
        try:
            async with self._request(rpc, "stream", "predict") as context, self._gateway.stream_of(context.caller):
                first = self._chunk_of(await self._message(chunks))
                settings = _settings(first.settings)
                async for item in answer_stream(self._gateway, context, settings, self._chunks(first, chunks)):
                    reply = _reply(item.reply)
                    reply.window_start_s, reply.window_end_s = item.window.start_s, item.window.end_s
                    reply.session = item.session
                    yield reply.SerializeToString()
        except ServingError as error:
            await _abort(error, rpc)

    async def _feedback(self, messages: AsyncIterator[bytes], rpc: Rpc) -> bytes:
        async def answer() -> bytes:
            async with self._request(rpc, "feedback", "feedback") as context:
                asked = _parse(await self._message(messages), pb.FeedbackRequest)
                features_of(asked.features, self._gateway.limits)
                given = feedback.Feedback(
                    idempotency_key=asked.idempotency_key,
                    request_id=asked.request_id,
                    label=asked.label,
                    consent=asked.consent,
                    model_version=asked.model_version,
                    features=pb.FeedbackRequest(features=asked.features).SerializeToString()
                    if asked.features
                    else None,
                )
                duplicate = await self._gateway.feedback(context, given, asked.features)
                return pb.FeedbackReply(accepted=True, duplicate=duplicate).SerializeToString()

        return await _or_abort(answer, rpc)

    async def _get_bundle(self, messages: AsyncIterator[bytes], rpc: Rpc) -> AsyncIterator[bytes]:
        try:
            async with self._request(rpc, "bundle", "bundles") as context:
                asked = _parse(await self._message(messages), pb.GetBundleRequest)
                entry = await self._gateway.bundle(asked.version)
                if asked.offset > entry.size_bytes:
                    raise RangeNotSatisfiable(f"the bundle has {entry.size_bytes} bytes; ask for an offset within them")
                context.facts |= {"version": entry.version, "offset": asked.offset}
                chunk = pb.BundleChunk(version=entry.version, total_bytes=entry.size_bytes, sha256=entry.sha256)
                chunk.offset = asked.offset
                if asked.offset == entry.size_bytes:
                    yield chunk.SerializeToString()
                async for part in chunks_of(entry.path, asked.offset, entry.size_bytes):
                    chunk.data = part
                    yield chunk.SerializeToString()
                    chunk.offset += len(part)
        except ServingError as error:
            await _abort(error, rpc)

    def _chunk_of(self, data: bytes) -> pb.StreamChunk:
        most = self._gateway.limits.stream_message_bytes
        if len(data) > most:
            raise RequestTooLarge(f"a message of a stream has more than {most} bytes; send shorter pieces")
        return _parse(data, pb.StreamChunk)

    async def _chunks(self, first: pb.StreamChunk, rest: AsyncIterator[bytes]) -> AsyncIterator[Chunk]:
        yield _chunk(first)
        async for data in rest:
            yield _chunk(self._chunk_of(data))

    async def _message(self, messages: AsyncIterator[bytes]) -> bytes:
        """The one message of a plain call, read now that its caller was let in.

        Raises
        ------
        TooSlow, InvalidRequest
        """
        limit_s = self._gateway.limits.body_s
        try:
            async with asyncio.timeout(limit_s):
                return await _first(messages)
        except TimeoutError:
            raise TooSlow(f"the message did not arrive within {limit_s:g} s; send less or over a faster line") from None

    def _request(self, rpc: Rpc, method: str, scope: str) -> Any:
        if tracing.is_on():
            said = (value for name, value in rpc.invocation_metadata() or () if name == tracing.HEADER)
            tracing.arrived(str(next(said, "")))
        return self._gateway.request("grpc", method, _token(rpc), _peer(rpc), scope)


async def _or_abort(answer: Callable[[], Awaitable[bytes]], rpc: Rpc) -> bytes:
    try:
        return await answer()
    except ServingError as error:
        await _abort(error, rpc)


async def _abort(error: ServingError, rpc: Rpc) -> NoReturn:
    trailing: tuple[tuple[str, str], ...] = (("error-type", type(error).__name__),)
    if isinstance(error, Overloaded):
        trailing += ((_RETRY_AFTER, str(max(1, math.ceil(error.retry_after_s)))),)
    await rpc.abort(grpc.StatusCode[error.grpc_status], str(error), trailing)
    raise error  # abort has raised already; the type checker cannot know


def _parse(data: bytes, kind: type[Asked]) -> Asked:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidRequest(f"this is no {kind.DESCRIPTOR.name}; check that both sides use the same proto") from None


async def _first(chunks: AsyncIterator[bytes]) -> bytes:
    async for chunk in chunks:
        return chunk
    raise InvalidRequest("the call holds no message; send one (of a stream, the first carries settings)")


def _chunk(given: pb.StreamChunk) -> Chunk:
    # proto3 cannot tell 0 from not given; only the first chunk is at 0, where both mean the same.
    return Chunk(pcm=given.pcm, picture=given.picture, text=given.text, time_s=given.time_s or None)


def _settings(given: pb.StreamSettings) -> StreamSettings:
    default = StreamSettings()
    return StreamSettings(
        given.sample_rate_hz or default.sample_rate_hz,
        given.window_s or default.window_s,
        given.hop_s or default.hop_s,
        given.adapt,
    )


def _question(asked: pb.PredictRequest, limits: Limits, arrived_s: float, remaining_s: float | None) -> Question:
    return Question(
        request_id=asked.request_id,
        text=asked.text or None,
        audio=asked.audio or None,
        video=asked.video or None,
        features=features_of(asked.features, limits),
        encoder_keys={modality: sequence.encoder_key for modality, sequence in asked.features.items()},
        bundle_version=asked.bundle_version,
        model_version=asked.model_version,
        transcribe=asked.transcribe,
        attention=asked.attention,
        adapt=asked.adapt,
        # A deadline that passed already still counts, as the shortest there is.
        deadline_s=limits.deadline_s(
            arrived_s, asked.deadline_ms, None if remaining_s is None else max(remaining_s * _MS, 0.001)
        ),
    )


def _reply(reply: Reply) -> pb.PredictReply:
    answer = reply.answer
    return pb.PredictReply(
        request_id=reply.request_id,
        label=answer.label,
        probabilities=answer.probabilities,
        confidence=answer.confidence,
        modalities=answer.modalities,
        latency_ms=reply.latency_ms,
        model_version=answer.model_version,
        notes=answer.notes,
        transcript=answer.transcript or "",
        transcription_ms=answer.transcription_ms or 0.0,
        attention=None if answer.attention is None else _attention(answer.attention),
        adaptation=None if reply.adaptation is None else pb.Adaptation(**reply.adaptation.to_json()),
    )


def _attention(given: Attention) -> pb.Attention:
    layers, heads = given.shares.shape[:2]
    shares = given.shares.astype("<f2").tobytes()
    return pb.Attention(
        modalities=list(given.tokens), tokens=list(given.tokens.values()), layers=layers, heads=heads, shares=shares
    )


def _token(rpc: Rpc) -> str | None:
    for name, value in rpc.invocation_metadata() or ():
        if name == "authorization" and isinstance(value, str):
            kind, _, token = value.partition(" ")
            return token.strip() or None if kind.lower() == "bearer" else None
    return None


def _peer(rpc: Rpc) -> str:
    """Address without its port: ``ipv4:127.0.0.1:53210`` or ``ipv6:%5B::1%5D:53210``."""
    kind, _, address = rpc.peer().partition(":")
    return address.rpartition(":")[0].replace("%5B", "").replace("%5D", "") if kind.startswith("ipv") else kind
