"""A server that hangs, half-closes, resets or answers garbage: the right error, by the deadline."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from threading import Thread
from typing import Any

import grpc
import pytest
from tests.support import hostile

from fedaffect.edge.cloud import (
    CloudBusy,
    CloudClient,
    CloudError,
    CloudGarbage,
    CloudRefused,
    CloudTimeout,
    CloudUnreachable,
    GrpcCloud,
    RestCloud,
)
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.retry import Backoff
from fedaffect.edge.sample import Sample

ONCE = Backoff(attempts=1)
SAMPLE = Sample(id="s", text="so happy")
# Far beyond any deadline here; only says that a call ended at all.
ENDED_S = 60.0


def error_of(client: CloudClient, deadline_ms: float = 400.0) -> CloudError:
    caught: list[Any] = []

    def ask() -> None:
        try:
            caught.append(client.predict(SAMPLE, request_id="r1", deadline_ms=deadline_ms))
        except Exception as error:  # noqa: BLE001 handed to the thread that waits
            caught.append(error)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ENDED_S)
    assert caught, "the call did not end"
    client.close()
    assert isinstance(caught[0], CloudError), caught[0]
    return caught[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behave", "kind"),
    [
        (hostile.hang, CloudTimeout),
        (hostile.hang_up, CloudUnreachable),
        (hostile.reset, CloudUnreachable),
        (hostile.half_close, CloudUnreachable),
        (hostile.babble, CloudGarbage),
        (hostile.drip, CloudTimeout),
        (hostile.drip_body, CloudTimeout),
        (hostile.cut_off, CloudUnreachable),
    ],
)
def test_rest_on_sockets_that_misbehave(behave: hostile.Behaviour, kind: type[CloudError]) -> None:
    with hostile.listening(behave) as port:
        deadline_ms = 400.0 if kind is CloudTimeout else 20_000.0
        assert type(error_of(RestCloud(f"http://127.0.0.1:{port}", backoff=ONCE), deadline_ms)) is kind


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behave", "kinds"),
    [
        (hostile.hang, (CloudTimeout, CloudUnreachable)),
        (hostile.hang_up, (CloudUnreachable,)),
        (hostile.reset, (CloudUnreachable,)),
        (hostile.half_close, (CloudUnreachable, CloudTimeout)),
        # To gRPC a peer that talks nonsense is one that it cannot connect to.
        (hostile.babble, (CloudUnreachable, CloudGarbage)),
    ],
)
def test_grpc_on_sockets_that_misbehave(behave: hostile.Behaviour, kinds: tuple[type[CloudError], ...]) -> None:
    with hostile.listening(behave) as port:
        assert type(error_of(GrpcCloud(f"127.0.0.1:{port}", backoff=ONCE), 1500.0)) in kinds


@pytest.mark.slow
@pytest.mark.parametrize(
    "connect", [lambda port: RestCloud(f"http://127.0.0.1:{port}"), lambda port: GrpcCloud(f"127.0.0.1:{port}")]
)
def test_where_nobody_listens(connect: Callable[[int], CloudClient]) -> None:
    with hostile.listening(hostile.hang) as port:
        pass
    assert isinstance(error_of(connect(port), 20_000.0), CloudUnreachable)


GOOD: dict[str, Any] = {
    "request_id": "r1",
    "label": "joy",
    "probabilities": {"joy": 0.75, "anger": 0.25},
    "confidence": 0.75,
    "modalities": ["text"],
    "model_version": "m1",
    "latency_ms": 1.0,
    "notes": [],
}
WRONG: dict[str, dict[str, Any]] = {
    "sum": {"probabilities": {"joy": 0.75, "anger": 0.5}},
    "unknown label": {"probabilities": {"joy": 0.75, "hunger": 0.25}},
    "negative": {"probabilities": {"joy": 1.25, "anger": -0.25}, "confidence": 1.25},
    "not a number": {"probabilities": {"joy": float("nan"), "anger": 0.25}},
    "no probabilities": {"probabilities": {}},
    "label not the likeliest": {"label": "anger", "confidence": 0.25},
    "label without probability": {"label": "fear"},
    "other confidence": {"confidence": 0.5},
    "other request": {"request_id": "r2"},
    "unknown modality": {"modalities": ["smell"]},
    "no modality": {"modalities": []},
}


def _rest_body(changes: dict[str, Any]) -> bytes:
    return json.dumps(GOOD | changes).encode()


@pytest.mark.parametrize(
    "body",
    [_rest_body(changes) for changes in WRONG.values()]
    + [
        _rest_body({"probabilities": [0.75, 0.25]}),
        _rest_body({"confidence": "very"}),
        _rest_body({"notes": "none"}),
        b"",
        b"<html>welcome to the hotel network</html>",
        b"[]",
        b"[" * 100_000,
        b'{"request_id": ' + b"9" * 10_000 + b"}",
        b" " * (2**20 + 1),
        b"\xff\xfe\x00",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_rest_answers_that_make_no_sense(body: bytes) -> None:
    with hostile.listening(hostile.answering("200 OK", body)) as port:
        assert isinstance(error_of(RestCloud(f"http://127.0.0.1:{port}", backoff=ONCE), 20_000.0), CloudGarbage)


def test_a_reply_that_would_unpack_to_more_is_not_unpacked() -> None:
    with hostile.listening(hostile.answering("200 OK", b"\x1f\x8b", "Content-Encoding: gzip\r\n")) as port:
        error = error_of(RestCloud(f"http://127.0.0.1:{port}", backoff=ONCE), 20_000.0)
    assert isinstance(error, CloudGarbage)
    assert "compressed" in str(error)


def test_the_same_answer_unspoilt_is_taken() -> None:
    with hostile.listening(hostile.answering("200 OK", _rest_body({}))) as port:
        client = RestCloud(f"http://127.0.0.1:{port}")
        prediction = client.predict(SAMPLE, request_id="r1", deadline_ms=20_000.0)
        client.close()
    assert (prediction.label, prediction.source, prediction.offload_reason) == ("joy", "cloud", "unsure")
    assert prediction.modalities == ("text",)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("302 Found", CloudGarbage),
        ("401 Unauthorized", CloudRefused),
        ("404 Not Found", CloudRefused),
        ("413 Too Large", CloudRefused),
        ("422 No", CloudRefused),
        ("429 Slow", CloudBusy),
        ("500 Oops", CloudGarbage),
        ("502 Bad", CloudUnreachable),
        ("503 Draining", CloudUnreachable),
        ("504 Late", CloudTimeout),
    ],
)
def test_rest_statuses(status: str, kind: type[CloudError]) -> None:
    body = json.dumps({"error": {"type": "X", "message": "because\nof \x1b[31mthis"}}).encode()
    behave = hostile.answering(status, body, "Retry-After: 7\r\nLocation: /elsewhere\r\n")
    with hostile.listening(behave) as port:
        error = error_of(RestCloud(f"http://127.0.0.1:{port}", backoff=ONCE), 20_000.0)
    assert type(error) is kind
    assert "because of" in str(error)
    assert "\x1b" not in str(error)
    if isinstance(error, CloudRefused):
        assert error.status == int(status[:3])
    if isinstance(error, CloudBusy):
        assert error.retry_after_s == 7.0


@contextmanager
def grpc_server(answer: Callable[[bytes, grpc.ServicerContext], bytes]) -> Iterator[str]:
    """A real gRPC server whose Predict gives these bytes."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    methods = {"Predict": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("fedaffect.v1.Affect", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def _reply(changes: dict[str, Any]) -> bytes:
    return pb.PredictReply(**(GOOD | changes)).SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "reply",
    [_reply(changes) for changes in WRONG.values()] + [b"", b"\xff\xff\xff", b"\x0a", b"\x00" * (9 * 2**20)],
    ids=lambda reply: repr(reply[:30]),
)
def test_grpc_answers_that_make_no_sense(reply: bytes) -> None:
    with grpc_server(lambda request, context: reply) as target:
        assert isinstance(error_of(GrpcCloud(target, backoff=ONCE), 20_000.0), CloudGarbage)


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, CloudRefused, 422),
        (grpc.StatusCode.UNAUTHENTICATED, CloudRefused, 401),
        (grpc.StatusCode.PERMISSION_DENIED, CloudRefused, 403),
        (grpc.StatusCode.NOT_FOUND, CloudRefused, 404),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, CloudBusy, None),
        (grpc.StatusCode.UNAVAILABLE, CloudUnreachable, None),
        (grpc.StatusCode.DEADLINE_EXCEEDED, CloudTimeout, None),
        (grpc.StatusCode.INTERNAL, CloudGarbage, None),
        (grpc.StatusCode.UNKNOWN, CloudGarbage, None),
    ],
)
def test_grpc_statuses(code: grpc.StatusCode, kind: type[CloudError], status: int | None) -> None:
    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("retry-after", "7"),))
        context.abort(code, "because of this")
        return b""

    with grpc_server(refuse) as target:
        error = error_of(GrpcCloud(target, backoff=ONCE), 20_000.0)
    assert type(error) is kind
    if isinstance(error, CloudRefused):
        assert error.status == status
    if isinstance(error, CloudBusy):
        assert error.retry_after_s == 7.0


def test_grpc_tells_the_key_the_deadline_and_what_makes_it_safe_to_repeat() -> None:
    seen: list[tuple[dict[str, Any], pb.PredictRequest, float]] = []

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        asked = pb.PredictRequest.FromString(request)
        seen.append((dict(context.invocation_metadata()), asked, context.time_remaining()))
        if len(seen) < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return _reply({})

    with grpc_server(answer) as target:
        client = GrpcCloud(target, "fa_1_secret", backoff=Backoff(base_s=0.01, attempts=3))
        assert client.predict(SAMPLE, request_id="r1", deadline_ms=30_000.0).label == "joy"
        client.close()
    assert len(seen) == 3
    for metadata, asked, left_s in seen:
        assert metadata["authorization"] == "Bearer fa_1_secret"
        assert metadata["idempotency-key"] == asked.request_id == "r1"
        assert 0 < asked.deadline_ms <= 30_000
        assert 0 < left_s <= 30.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rest", "grpc"])
def test_closing_ends_what_is_under_way_and_what_comes_after(kind: str) -> None:
    with hostile.listening(hostile.hang) as port:
        client: CloudClient
        client = RestCloud(f"http://127.0.0.1:{port}") if kind == "rest" else GrpcCloud(f"127.0.0.1:{port}")
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                client.predict(SAMPLE, request_id="r1", deadline_ms=120_000.0)
            except CloudError as error:
                caught.append(error)

        thread = Thread(target=ask, daemon=True)
        thread.start()
        thread.join(0.3)
        client.close()
        thread.join(ENDED_S)
        assert isinstance(caught[0], CloudUnreachable)
        with pytest.raises(CloudUnreachable, match="closed"):
            client.predict(SAMPLE, request_id="r2")
        client.close()
