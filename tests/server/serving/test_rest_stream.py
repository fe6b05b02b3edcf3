"""Streams by WebSocket and by gRPC: one cutting of windows, the same answers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Any

import grpc
import numpy as np
import pytest
from tests.support.media_files import huge_png, picture
from tests.support.small_engine import SmallEngine
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto import affect_pb2_grpc as rpc
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.sound import require_sound
from fedaffect.server.errors import NothingToGoBy
from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.engines.engine import Answer, Request
from fedaffect.server.serving.gateway.limits import Limits

LIMITS = Limits(default_deadline_ms=60_000, streams_per_caller=2, stream_s=60.0, stream_message_bytes=500_000)
RATE_HZ = 8_000
SETTINGS = {"sample_rate_hz": RATE_HZ, "window_s": 1.0, "hop_s": 0.5}


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudServer]:
    with background(SmallEngine(), limits=LIMITS) as server:
        yield server


def pcm(seconds: float, seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).normal(scale=3000, size=int(seconds * RATE_HZ))
    return noise.astype("<i2").tobytes()


def opened(cloud: CloudServer) -> ClientConnection:
    return connect(f"ws{cloud.rest_url[4:]}/v1/stream", open_timeout=120, close_timeout=120)


def told(socket: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(socket.recv(timeout=120)))


def windows(replies: list[dict[str, Any]]) -> list[tuple[float, float]]:
    return [(round(r["window_start_s"], 3), round(r["window_end_s"], 3)) for r in replies]


def by_websocket(cloud: CloudServer, parts: list[bytes | str], **more: str) -> list[dict[str, Any]]:
    with opened(cloud) as socket:
        socket.send(json.dumps(SETTINGS | more))
        for part in parts:
            socket.send(part)
        socket.send(json.dumps({"end": True}))
        replies = [dict(json.loads(message)) for message in socket]
        assert socket.close_code == 1000
    return replies


def by_grpc(cloud: CloudServer, chunks: list[pb.StreamChunk]) -> list[pb.PredictReply]:
    with grpc.insecure_channel(cloud.grpc_target) as channel:
        return list(rpc.AffectStub(channel).PredictStream(iter(chunks), timeout=120))


class Listening(SmallEngine):
    """As an engine of real encoders, it makes nothing of silence."""

    async def predict(self, request: Request) -> Answer:
        try:
            require_sound(request.sample.audio)  # type: ignore[union-attr, arg-type]
        except DataError as error:
            raise NothingToGoBy(str(error)) from error
        return await super().predict(request)


def test_a_silent_window_ends_no_stream_and_is_told_later() -> None:
    with background(Listening(), limits=LIMITS) as cloud:
        silence = [bytes(RATE_HZ)] * 5  # half a second each
        replies = by_websocket(cloud, [b"\x00" + piece for piece in (pcm(1), *silence, pcm(1))])
    notes = [note for reply in replies for note in reply["notes"] if "nothing to go by" in note]
    assert len(notes) == 1
    assert notes[0].startswith("4 windows before this one had nothing to go by: ")
    assert windows(replies)[0] == (0.0, 1.0)
    assert windows(replies)[-1][1] == 4.5


def test_a_window_is_answered_each_hop_and_the_rest_at_the_end(cloud: CloudServer) -> None:
    sound = pcm(2.2)
    pieces = [sound[at : at + 2 * 800] for at in range(0, len(sound), 2 * 800)]
    replies = by_websocket(cloud, [b"\x00" + piece for piece in pieces])
    assert windows(replies) == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0), (1.2, 2.2)]
    assert all(r["modalities"] == ["audio"] for r in replies)
    assert len({r["session"] for r in replies}) == 1


def test_sound_in_one_piece_or_many_gives_the_same_answers(cloud: CloudServer) -> None:
    sound = pcm(2.0)
    whole = by_websocket(cloud, [b"\x00" + sound])
    pieces = by_websocket(cloud, [b"\x00" + sound[at : at + 998] for at in range(0, len(sound), 998)])
    assert windows(whole) == windows(pieces) == [(0.0, 1.0), (0.5, 1.5), (1.0, 2.0)]
    assert [r["probabilities"] for r in whole] == [r["probabilities"] for r in pieces]


def test_both_faces_cut_and_answer_alike(cloud: CloudServer) -> None:
    sound, seen = pcm(1.5), picture()
    parts: list[bytes | str] = [
        b"\x00" + sound[:8000],
        b"\x01" + seen,
        json.dumps({"text": "well"}),
        b"\x00" + sound[8000:],
    ]
    over_ws = by_websocket(cloud, parts)
    settings = pb.StreamSettings(**SETTINGS)
    chunks = [
        pb.StreamChunk(settings=settings, pcm=sound[:8000]),
        pb.StreamChunk(picture=seen),
        pb.StreamChunk(text="well"),
        pb.StreamChunk(pcm=sound[8000:]),
    ]
    over_grpc = by_grpc(cloud, chunks)
    assert [list(r.modalities) for r in over_grpc] == [r["modalities"] for r in over_ws]
    assert over_ws[0]["modalities"] == ["text", "audio", "video"]
    for one, other in zip(over_ws, over_grpc, strict=True):
        assert dict(other.probabilities) == pytest.approx(one["probabilities"], abs=1e-6)


def test_pictures_alone_make_windows_by_their_own_times(cloud: CloudServer) -> None:
    settings = pb.StreamSettings(**SETTINGS)
    chunks = [pb.StreamChunk(settings=settings, picture=picture(seed=0))]
    # One is turned on its side, as phones are.
    chunks += [pb.StreamChunk(picture=picture(48, 32 if i == 3 else 48, seed=i), time_s=0.25 * i) for i in range(1, 7)]
    replies = by_grpc(cloud, chunks)
    assert [(r.window_start_s, r.window_end_s) for r in replies] == [(0.0, 1.0), (0.5, 1.5), (0.5, 1.5)]
    assert all(list(r.modalities) == ["video"] for r in replies)


def test_a_stream_without_content_has_no_answers(cloud: CloudServer) -> None:
    assert by_websocket(cloud, []) == []
    assert by_grpc(cloud, [pb.StreamChunk(settings=pb.StreamSettings(**SETTINGS))]) == []


@pytest.mark.parametrize(
    "messages",
    [
        [b"\x00\x00\x00"],
        ["no json"],
        [json.dumps({"window_s": 1e9})],
        [json.dumps({"hop_s": 0.0001})],
        [json.dumps({"sample_rate_hz": -1})],
        [json.dumps({"loud": 1})],
        ['{"window_s": NaN}'],
        [json.dumps(SETTINGS), b""],
        [json.dumps(SETTINGS), b"\x07abc"],
        [json.dumps(SETTINGS), b"\x00abc"],
        [json.dumps(SETTINGS), b"\x01not a picture"],
        [json.dumps(SETTINGS), b"\x01" + huge_png()],
        [json.dumps(SETTINGS), b"\x01" + picture()[:80]],
        [json.dumps(SETTINGS), json.dumps({"text": 5})],
        [json.dumps(SETTINGS), json.dumps({"text": "a", "time_s": -1})],
        [json.dumps(SETTINGS), json.dumps({"text": "a", "time_s": 1e12})],
        [json.dumps(SETTINGS), json.dumps({"text": "a" * 10_001})],
    ],
)
def test_what_makes_no_sense_is_told_and_the_stream_closed(cloud: CloudServer, messages: list[bytes | str]) -> None:
    with opened(cloud) as socket:
        for message in messages:
            socket.send(message)
        error = told(socket)["error"]
        assert error["type"] in {"InvalidRequest", "RequestTooLarge"}
        with pytest.raises(ConnectionClosed):
            told(socket)
        assert socket.close_code == 1008


def test_a_message_beyond_the_limit_closes_the_stream(cloud: CloudServer) -> None:
    with opened(cloud) as socket:
        socket.send(json.dumps(SETTINGS))
        with suppress(ConnectionClosed):
            socket.send(b"\x00" + bytes(600_000))
        with pytest.raises(ConnectionClosed):
            told(socket)
        assert socket.close_code == 1009


def test_a_caller_may_hold_only_so_many_streams(cloud: CloudServer) -> None:
    with opened(cloud) as first, opened(cloud) as second:
        for socket in (first, second):
            socket.send(json.dumps(SETTINGS))
            socket.send(b"\x00" + pcm(1.0))
            told(socket)
        with opened(cloud) as third:
            assert told(third)["error"]["type"] == "Overloaded"
    assert by_websocket(cloud, [b"\x00" + pcm(1.0)])


def test_who_hangs_up_leaves_nothing_open(cloud: CloudServer) -> None:
    for _ in range(3):
        with opened(cloud) as socket:
            socket.send(json.dumps(SETTINGS))
            socket.send(b"\x00" + pcm(1.0))
            told(socket)
            socket.socket.shutdown(SHUT_RDWR)
    # Two at once are allowed, and three were opened: they must have been given back.
    for _ in range(100):
        try:
            assert by_websocket(cloud, [b"\x00" + pcm(1.0)])
            return
        except (KeyError, AssertionError):
            continue
    pytest.fail("streams whose callers hung up still count")


def test_who_hangs_up_is_no_failure(cloud: CloudServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fedaffect.serving"):
        with opened(cloud) as socket:
            socket.send(json.dumps(SETTINGS))
            socket.send(b"\x00" + pcm(1.2))
            told(socket)
        until = time.monotonic() + 300
        while not any(record.message == "answered" for record in caplog.records):
            assert time.monotonic() < until
            time.sleep(0.01)
    (said,) = (record.facts["outcome"] for record in caplog.records if record.message == "answered")  # type: ignore[attr-defined]
    assert said == "OK"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
