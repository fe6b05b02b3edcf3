"""Random bytes and random messages to every method of the running server: documented statuses only, and it lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.word_engine import WordEngine

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.server.registry import Registry
from fedaffect.server.serving.app import background
from fedaffect.server.serving.gateway.limits import Limits

# A server that has done nothing wrong says nothing else; INTERNAL and UNKNOWN are the ones it must never say.
DOCUMENTED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
EXAMPLES = settings(max_examples=25, deadline=None)
TIMEOUT_S = 300.0

Caller = Callable[[list[bytes]], grpc.StatusCode]

words = st.text(max_size=30)
numbers = st.integers(0, 2**32 - 1)
floats = st.floats(width=32)
sequences = st.builds(
    pb.FeatureSequence,
    encoder_key=words,
    rows=st.integers(0, 4) | numbers,
    width=st.integers(0, 4) | numbers,
    values=st.binary(max_size=40),
)
features = st.dictionaries(st.sampled_from(["text", "audio", "video", "", "smell"]), sequences, max_size=3)
# Beginnings of real files, so that the decoders are reached.
media = st.binary(max_size=60) | st.builds(
    bytes.__add__,
    st.sampled_from(
        [
            b"RIFF\x24\0\0\0WAVEfmt ",
            b"\xff\xd8\xff\xe0",
            b"\x89PNG\r\n\x1a\n",
            b"fLaC\0",
            b"\x1aE\xdf\xa3",
            b"\0\0\0\x18ftypmp42",
        ]
    ),
    st.binary(max_size=60),
)
MESSAGES: dict[str, st.SearchStrategy[Any]] = {
    "Predict": st.builds(
        pb.PredictRequest,
        request_id=words,
        text=words,
        audio=media | st.just(b""),
        video=media | st.just(b""),
        features=st.just({}) | features,
        bundle_version=words,
        model_version=st.just("") | words,
        transcribe=st.booleans(),
        deadline_ms=st.just(0) | numbers,
    ),
    "PredictStream": st.builds(
        pb.StreamChunk,
        settings=st.builds(
            pb.StreamSettings,
            sample_rate_hz=st.sampled_from([0, 16000]) | numbers,
            window_s=st.just(1.0) | floats,
            hop_s=st.just(0.5) | floats,
        ),
        pcm=st.binary(max_size=200),
        picture=media | st.just(b""),
        text=words,
        time_s=floats,
    ),
    "Feedback": st.builds(
        pb.FeedbackRequest,
        idempotency_key=st.just("k") | words,
        request_id=st.just("r") | words,
        label=st.sampled_from(["joy", "hungry"]) | words,
        consent=st.booleans(),
        model_version=words,
        features=features,
    ),
    "GetBundle": st.builds(pb.GetBundleRequest, version=st.just("") | words, offset=st.integers(0, 2**64 - 1)),
}


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Caller]]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    registry = Registry.open(f"sqlite:///{folder}/registry.sqlite3")
    limits = Limits(requests_per_minute=10**6)
    with background(WordEngine(), registry=registry, limits=limits) as server:
        channel = grpc.insecure_channel(server.grpc_target)

        def caller(method: str) -> Caller:
            ask = channel.stream_stream(f"/fedaffect.v1.Affect/{method}")

            def send(messages: list[bytes]) -> grpc.StatusCode:
                try:
                    list(ask(iter(messages), timeout=TIMEOUT_S))
                except grpc.RpcError as error:
                    code: grpc.StatusCode = error.code()
                    return code
                return grpc.StatusCode.OK

            return send

        yield caller
        # It lives: an honest question is still answered.
        answer = channel.unary_unary("/fedaffect.v1.Affect/Predict", response_deserializer=pb.PredictReply.FromString)
        reply = answer(pb.PredictRequest(text="joy").SerializeToString(), timeout=TIMEOUT_S)
        channel.close()
        assert reply.label == "joy"
    registry.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", MESSAGES)
@EXAMPLES
@given(data=st.data())
def test_random_bytes(call: Callable[[str], Caller], method: str, data: st.DataObject) -> None:
    count = 3 if method == "PredictStream" else 1
    messages = data.draw(st.lists(st.binary(max_size=200), min_size=count, max_size=count))
    assert call(method)(messages) in DOCUMENTED


@pytest.mark.slow
@pytest.mark.parametrize("method", MESSAGES)
@EXAMPLES
@given(data=st.data())
def test_random_messages(call: Callable[[str], Caller], method: str, data: st.DataObject) -> None:
    count = 4 if method == "PredictStream" else 1
    drawn = data.draw(st.lists(MESSAGES[method], min_size=count, max_size=count))
    assert call(method)([message.SerializeToString() for message in drawn]) in DOCUMENTED


@pytest.mark.slow
@pytest.mark.parametrize("method", MESSAGES)
@EXAMPLES
@given(data=st.data())
def test_valid_messages_with_a_few_bytes_changed(
    call: Callable[[str], Caller], method: str, data: st.DataObject
) -> None:
    content = bytearray(data.draw(MESSAGES[method]).SerializeToString())
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)):
        if place < len(content):
            content[place] = value
    assert call(method)([bytes(content)]) in DOCUMENTED
