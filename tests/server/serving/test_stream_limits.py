"""One message of a stream costs no more than itself, whatever it holds and whichever transport brings it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from tests.support.media_files import picture
from tests.support.small_engine import SmallEngine

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto import affect_pb2_grpc as rpc
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.registry import Registry, api_keys
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.gateway import stream
from fedaffect.server.serving.gateway.limits import Limits
from fedaffect.server.serving.gateway.stream import StreamSettings, Window, WindowCutter

SMALL = np.zeros((8, 8, 3), np.uint8)
LIMITS = Limits(body_bytes=1_000_000, default_deadline_ms=60_000, stream_message_bytes=300_000)


def pcm(seconds: float, rate_hz: int) -> bytes:
    return np.random.default_rng(0).normal(scale=3000, size=int(seconds * rate_hz)).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("rate_hz", "window_s", "hop_s"), [(96_000, 3.0, 0.1), (96_000, 30.0, 0.1), (8_000, 0.5, 0.1), (48_000, 20.0, 0.3)]
)
def test_windows_over_one_message_are_made_one_at_a_time(rate_hz: int, window_s: float, hop_s: float) -> None:
    cutter, data = WindowCutter(StreamSettings(rate_hz, window_s, hop_s), Limits()), pcm(30.0, rate_hz)
    tracemalloc.start()
    try:
        cutter.add_sound(data)
        count = sum(window is not None for window in cutter.windows())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == int((30.0 - window_s) / hop_s + 1e-6) + 1
    assert peak < 5 * len(data) + 2_000_000


def test_a_window_holds_what_it_shows_and_nothing_more() -> None:
    cutter, data = WindowCutter(StreamSettings(16_000, 2.0, 0.7), Limits()), pcm(20.0, 16_000)
    for start in range(0, len(data), 34_000):
        cutter.add_sound(data[start : start + 34_000])
        for window in cutter.windows():
            assert window is not None
            heard = window.sound
            begin = round(window.start_s * 16_000)
            expected = np.frombuffer(data, "<i2")[begin : begin + 32_000].astype(np.float32) / 32768
            np.testing.assert_array_equal(heard.samples, expected)  # type: ignore[union-attr]
            assert heard.samples.base is None  # type: ignore[union-attr]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_a_message_holds_only_so_many_seconds(rate_hz: int) -> None:
    cutter = WindowCutter(StreamSettings(rate_hz), Limits(stream_message_s=5.0))
    cutter.add_sound(pcm(5.0, rate_hz))
    with pytest.raises(RequestTooLarge, match="more than 5 s of sound; send it in shorter pieces"):
        cutter.add_sound(pcm(5.1, rate_hz))


def test_pictures_are_kept_for_one_window_and_no_more_than_an_encoder_takes() -> None:
    cutter = WindowCutter(StreamSettings(window_s=30.0, hop_s=0.5), Limits())
    kept: list[Window] = []
    for place in range(900):
        cutter.add_picture(b"a picture", SMALL, place / 20)
        kept += [window for window in cutter.windows() if window is not None]
    assert {len(window.pictures) for window in kept} <= {149, 150, 151}


def test_a_stream_keeps_few_pictures_unpacked() -> None:
    cutter = WindowCutter(StreamSettings(window_s=30.0, hop_s=0.5), Limits())
    data = picture(8, 8)
    tracemalloc.start()
    try:
        for place in range(900):
            cutter.add_picture(data, np.zeros((640, 640, 3), np.uint8), place / 20)
            list(cutter.windows())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000
    assert len(cutter._pictures) > 140


def test_pictures_that_were_not_kept_unpacked_are_unpacked_again(
    monkeypatch: pytest.MonkeyPatch, token_and_cloud: tuple[str, CloudServer]
) -> None:
    token, cloud = token_and_cloud
    settings = pb.StreamSettings(sample_rate_hz=8_000, window_s=1.0, hop_s=0.5)
    chunks = [pb.StreamChunk(picture=picture(64, 64, seed=i), time_s=0.25 * i) for i in range(1, 9)]
    chunks.insert(0, pb.StreamChunk(settings=settings))

    def answers() -> list[dict[str, float]]:
        with grpc.insecure_channel(cloud.grpc_target) as channel:
            metadata = (("authorization", f"Bearer {token}"),)
            replies = rpc.AffectStub(channel).PredictStream(iter(chunks), metadata=metadata, timeout=120)
            return [dict(reply.probabilities) for reply in replies]

    kept = answers()
    monkeypatch.setattr(stream, "_UNPACKED_BYTES", 2 * 64 * 64 * 3)
    assert len(kept) >= 3
    assert answers() == kept


def test_pictures_of_a_window_that_take_too_much_are_refused() -> None:
    cutter = WindowCutter(StreamSettings(window_s=3.0, hop_s=0.5), Limits(stream_pictures_bytes=1000))
    for place in range(30):
        cutter.add_picture(bytes(100), SMALL, float(place))
        list(cutter.windows())
    cutter.add_picture(bytes(500), SMALL, 30.0)
    with pytest.raises(RequestTooLarge, match="of one window take more than"):
        cutter.add_picture(bytes(500), SMALL, 30.5)


def test_times_that_go_back_are_refused() -> None:
    cutter = WindowCutter(StreamSettings(window_s=3.0, hop_s=0.5), Limits())
    # Without a time, they come when they come.
    cutter.add_picture(b"a picture", SMALL, None)
    cutter.add_picture(b"a picture", SMALL, 0.0)
    cutter.add_picture(b"a picture", SMALL, 2.0)
    cutter.add_words("late words are words", 1.0)
    with pytest.raises(InvalidRequest, match=r"time_s goes back from 2 to 1\.5; send pictures in their order"):
        cutter.add_picture(b"a picture", SMALL, 1.5)
    with pytest.raises(InvalidRequest, match=r"time_s goes back from 1 to 0\.5; send words in their order"):
        cutter.add_words("earlier", 0.5)
    cutter.add_picture(b"a picture", SMALL, 2.0 - 1e-4)
    # Backwards, each was one more however close it was to others.
    assert len(cutter._pictures) == 2


def test_an_hour_that_nothing_came_in_is_passed_over() -> None:
    cutter = WindowCutter(StreamSettings(16_000, 3.0, 0.1), Limits())
    cutter.add_picture(b"a picture", SMALL, 0.0)
    cutter.add_words("late", 3599.0)
    shown = [window for window in cutter.windows() if window is not None]
    assert [bool(window.pictures) for window in shown] == [True]


@pytest.fixture
def token_and_cloud(tmp_path: Path) -> Iterator[tuple[str, CloudServer]]:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        _, token = api_keys.create(registry, "kiosk", ["predict"])
        with background(SmallEngine(), access=Access(registry), limits=LIMITS) as cloud:
            yield token, cloud


def _refusal(call: object, *messages: object, token: str | None = None) -> grpc.RpcError:
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    with pytest.raises(grpc.RpcError) as caught:
        list(call(*messages, metadata=metadata, timeout=120))  # type: ignore[operator]
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize("size", [10, 900_000, 1_500_000, 20_000_000])
def test_the_key_is_looked_at_before_a_message_is_read(token_and_cloud: tuple[str, CloudServer], size: int) -> None:
    _, cloud = token_and_cloud
    with grpc.insecure_channel(cloud.grpc_target, options=[("grpc.max_send_message_length", -1)]) as channel:
        affect = rpc.AffectStub(channel)
        asked = pb.PredictRequest(audio=bytes(size))
        told = pb.FeedbackRequest(label="x" * size)
        for error in (
            _refusal(affect.Predict, asked),
            _refusal(affect.Feedback, told),
            _refusal(affect.PredictStream, iter([pb.StreamChunk(pcm=bytes(size))])),
        ):
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_stream_by_grpc_has_the_limits_of_one_by_websocket(token_and_cloud: tuple[str, CloudServer]) -> None:
    token, cloud = token_and_cloud
    settings = pb.StreamSettings(sample_rate_hz=8_000, window_s=1.0, hop_s=0.5)
    with grpc.insecure_channel(cloud.grpc_target) as channel:
        affect = rpc.AffectStub(channel)
        for chunk in (
            pb.StreamChunk(settings=settings, pcm=bytes(300_000)),
            pb.StreamChunk(settings=settings, picture=picture(400, 400)),
            pb.StreamChunk(settings=settings, text="a" * 299_000),
        ):
            error = _refusal(affect.PredictStream, iter([chunk]), token=token)
            assert ("error-type", "RequestTooLarge") in [tuple(pair) for pair in error.trailing_metadata()]
        assert _refusal(affect.PredictStream, iter([]), token=token).code() is grpc.StatusCode.INVALID_ARGUMENT
