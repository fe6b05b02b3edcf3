"""gRPC over real sockets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.media_files import huge_png, picture, tone, video
from tests.support.small_engine import LABELS, WIDTHS, SmallEngine

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto import affect_pb2_grpc as rpc
from fedaffect.server.errors import Overloaded
from fedaffect.server.registry import Registry, bundles
from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.gateway.limits import Limits

LIMITS = Limits(body_bytes=1_000_000, default_deadline_ms=600_000, longest_deadline_ms=600_000)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path_factory.mktemp('registry') / 'server.db'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def cloud(registry: Registry) -> Iterator[CloudServer]:
    with background(SmallEngine(), registry=registry, limits=LIMITS) as server:
        yield server


@pytest.fixture(scope="module")
def channel(cloud: CloudServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(cloud.grpc_target) as opened:
        yield opened


@pytest.fixture(scope="module")
def affect(channel: grpc.Channel) -> rpc.AffectStub:
    return rpc.AffectStub(channel)


def sequence(modality: str, rows: int = 2, width: int | None = None, fill: float = 0.5) -> pb.FeatureSequence:
    wide = width or WIDTHS[modality]
    values = np.full((rows, wide), fill, "<f2").tobytes()
    return pb.FeatureSequence(encoder_key="k", rows=rows, width=wide, values=values)


def refused(call: object) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()  # type: ignore[operator]
    return caught.value


def test_all_modalities_are_answered(affect: rpc.AffectStub) -> None:
    asked = pb.PredictRequest(request_id="g-1", text="well", audio=tone(), video=video())
    reply = affect.Predict(asked)
    assert reply.request_id == "g-1"
    assert list(reply.modalities) == ["text", "audio", "video"]
    assert set(reply.probabilities) == set(LABELS)
    assert reply.confidence == pytest.approx(max(reply.probabilities.values()))


def test_features_are_answered(affect: rpc.AffectStub) -> None:
    reply = affect.Predict(pb.PredictRequest(features={"video": sequence("video")}, bundle_version="b"))
    assert list(reply.modalities) == ["video"]
    assert reply.request_id


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (pb.PredictRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(text="a" * 10_001), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(audio=bytes(50)), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(video=huge_png()), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(audio=bytes(1_100_000)), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(text="a", features={"text": sequence("text")}), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(features={"smell": sequence("text")}), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(features={"text": sequence("text", width=15)}), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(features={"text": sequence("text", fill=np.nan)}), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(text="a", request_id="tab\there"), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(text="a", model_version="none"), grpc.StatusCode.NOT_FOUND),
    ],
)
def test_bad_requests_have_their_codes(affect: rpc.AffectStub, asked: pb.PredictRequest, code: grpc.StatusCode) -> None:
    error = refused(lambda: affect.Predict(asked))
    assert error.code() is code
    assert error.details()


def test_feedback_is_taken_once(affect: rpc.AffectStub) -> None:
    asked = pb.FeedbackRequest(idempotency_key="g-f", request_id="r", label="joy", consent=False)
    assert affect.Feedback(asked) == pb.FeedbackReply(accepted=True, duplicate=False)
    assert affect.Feedback(asked) == pb.FeedbackReply(accepted=True, duplicate=True)
    wrong = refused(lambda: affect.Feedback(pb.FeedbackRequest(idempotency_key="x", request_id="r", label="?")))
    assert wrong.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_bundle_comes_in_chunks_from_any_offset(affect: rpc.AffectStub, registry: Registry, tmp_path: Path) -> None:
    data = np.random.default_rng(2).bytes(600_000)
    tar, digest = tmp_path / "b.tar", hashlib.sha256(data).hexdigest()
    tar.write_bytes(data)
    bundles.add(registry, version="b-1", path=tar, sha256=digest, size_bytes=len(data))
    bundles.offer(registry, "b-1")
    chunks = list(affect.GetBundle(pb.GetBundleRequest()))
    assert b"".join(chunk.data for chunk in chunks) == data
    assert {(c.version, c.sha256, c.total_bytes) for c in chunks} == {("b-1", digest, len(data))}
    rest = list(affect.GetBundle(pb.GetBundleRequest(version="b-1", offset=400_000)))
    assert b"".join(chunk.data for chunk in rest) == data[400_000:]
    assert rest[0].offset == 400_000
    behind = refused(lambda: list(affect.GetBundle(pb.GetBundleRequest(offset=len(data) + 1))))
    assert behind.code() is grpc.StatusCode.OUT_OF_RANGE
    missing = refused(lambda: list(affect.GetBundle(pb.GetBundleRequest(version="b-9"))))
    assert missing.code() is grpc.StatusCode.NOT_FOUND


def test_health_and_reflection(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "fedaffect.v1.Affect"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    (listed,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(asked)
    assert "fedaffect.v1.Affect" in {s.name for s in listed.list_services_response.service}


@pytest.mark.slow
def test_the_callers_deadline_holds() -> None:
    engine = SmallEngine()
    engine.hold.clear()
    with background(engine, drain_s=0.1) as cloud, grpc.insecure_channel(cloud.grpc_target) as channel:
        affect = rpc.AffectStub(channel)
        by_field = refused(lambda: affect.Predict(pb.PredictRequest(text="a", deadline_ms=50)))
        by_grpc = refused(lambda: affect.Predict(pb.PredictRequest(text="a"), timeout=0.1))
    assert by_field.code() is by_grpc.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_full_queue_says_when_to_come_back() -> None:
    class Full(SmallEngine):
        async def predict(self, request: object) -> object:  # type: ignore[override]
            raise Overloaded("the queue is full", 2.3)

    with background(Full()) as cloud, grpc.insecure_channel(cloud.grpc_target) as channel:
        error = refused(lambda: rpc.AffectStub(channel).Predict(pb.PredictRequest(text="a")))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ("retry-after", "3") in [tuple(pair) for pair in error.trailing_metadata()]


ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
FEATURES = st.dictionaries(
    st.sampled_from(["text", "audio", "video", "", "x"]),
    st.builds(
        pb.FeatureSequence,
        encoder_key=st.text(max_size=5),
        rows=st.integers(0, 2**32 - 1),
        width=st.integers(0, 2**32 - 1),
        values=st.binary(max_size=64),
    ),
    max_size=3,
)
MESSAGES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        pb.PredictRequest,
        request_id=st.text(max_size=8),
        text=st.text(max_size=30),
        audio=st.one_of(st.just(b""), st.binary(max_size=50), st.just(tone()[:200])),
        video=st.one_of(st.just(b""), st.binary(max_size=50), st.just(picture(8, 8)[:90])),
        features=FEATURES,
        bundle_version=st.text(max_size=5),
        model_version=st.sampled_from(["", "", "small-1", "x"]),
        transcribe=st.booleans(),
        deadline_ms=st.integers(0, 2**32 - 1),
    ).map(lambda message: message.SerializeToString()),
    st.builds(
        pb.FeedbackRequest,
        idempotency_key=st.text(max_size=8),
        request_id=st.text(max_size=8),
        label=st.sampled_from(["joy", "", "x"]),
        consent=st.booleans(),
        features=FEATURES,
    ).map(lambda message: message.SerializeToString()),
)


@pytest.mark.slow
@given(data=MESSAGES, method=st.sampled_from(["Predict", "Feedback", "GetBundle", "PredictStream"]))
@settings(max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_no_bytes_make_it_fail_inside(channel: grpc.Channel, data: bytes, method: str) -> None:
    path = f"/fedaffect.v1.Affect/{method}"
    code = grpc.StatusCode.OK
    try:
        if method == "GetBundle":
            list(channel.unary_stream(path)(data, timeout=60))
        elif method == "PredictStream":
            list(channel.stream_stream(path)(iter([data, data]), timeout=60))
        else:
            channel.unary_unary(path)(data, timeout=60)
    except grpc.RpcError as error:
        code = error.code()
    assert code in ALLOWED
