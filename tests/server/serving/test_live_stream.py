"""Live streams by WebSocket: the newest picture is answered, with faces, and with what each modality says."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.support.media_files import picture
from tests.support.small_engine import SmallEngine
from tests.support.small_full_model import small_media_model
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from fedaffect.edge.runtime.probes import drawn_face
from fedaffect.server.models.alignment.consented import gather
from fedaffect.server.models.full_model.card import ModelCard
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.registry import Registry, api_keys, feedback
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.engines.engine import Engine
from fedaffect.server.serving.engines.local_engine import LocalEngine
from fedaffect.server.serving.engines.versions import VersionedEngine
from fedaffect.server.serving.scheduling.batcher import BatcherConfig

SETTINGS = {"live": True, "window_s": 3.0, "hop_s": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return small_media_model(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path_factory.mktemp('registry') / 'server.db'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def cloud(folder: Path, registry: Registry) -> Iterator[CloudServer]:
    async def opened(path: Path) -> Engine:
        return LocalEngine(await asyncio.to_thread(FullModel.load, path), BatcherConfig(workers=1))

    async def engine() -> Engine:
        versions = VersionedEngine(opened)
        await versions.load(folder)
        return versions

    with background(engine, registry=registry) as server:
        yield server


@contextmanager
def streaming(cloud: CloudServer, headers: dict[str, str] | None = None, **settings: Any) -> Iterator[ClientConnection]:
    url = f"ws{cloud.rest_url[4:]}/v1/stream"
    with connect(url, additional_headers=headers, open_timeout=120, close_timeout=120) as socket:
        socket.send(json.dumps(SETTINGS | settings))
        yield socket


def told(socket: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(socket.recv(timeout=60)))


def jpeg(image: NDArray[np.uint8]) -> bytes:
    out = BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=90)
    return out.getvalue()


def timed(time_s: float, image: NDArray[np.uint8]) -> bytes:
    return bytes([2]) + struct.pack("<d", time_s) + jpeg(image)


def noise(seconds: float) -> bytes:
    sound = np.random.default_rng(0).normal(scale=3000, size=int(16_000 * seconds))
    return bytes([0]) + sound.astype("<i2").tobytes()


def two_faces() -> NDArray[np.uint8]:
    return np.concatenate([drawn_face(120, at=(120, 100))[:, :320], drawn_face(at=(120, 430))[:, 320:]], axis=1)


def test_an_answer_says_where_faces_are_and_what_each_sense_says(cloud: CloudServer) -> None:
    with streaming(cloud, adapt="en") as socket:
        socket.send(noise(2.0))
        socket.send(json.dumps({"text": "I am happy"}))
        first = told(socket)
        socket.send(timed(1.25, drawn_face()))
        while "picture_time_s" not in (answer := told(socket)):
            pass
    assert set(first["modalities"]) <= {"text", "audio"}
    assert answer["picture_time_s"] == 1.25
    assert {"text", "video"} <= set(answer["modalities"])
    (face,) = answer["faces"]
    left, top, right, bottom = face["box"]
    assert face["id"] == 1
    assert face["fused"]
    # The drawing's head fills most of a square of 110 pixels at (200, 120).
    assert (left + right) / 2 == pytest.approx(255 / 640, abs=0.04)
    assert (top + bottom) / 2 == pytest.approx(175 / 480, abs=0.06)
    assert set(answer["by_modality"]) == set(answer["weights"]) == set(answer["modalities"]) == set(answer["windows"])
    assert sum(answer["weights"].values()) == pytest.approx(1, abs=1e-3)
    assert answer["weighed_by"] == "leave-one-out"
    assert answer["by_modality"]["video"] == face["probabilities"]
    assert answer["affect"]["derived"]
    assert answer["adaptation"]["cues"] is not None
    assert "features" not in answer


def test_every_face_is_told_apart_and_one_is_fused(cloud: CloudServer) -> None:
    with streaming(cloud) as socket:
        answers = []
        for place in range(4):
            socket.send(timed(float(place), two_faces()))
            answers.append(told(socket))
    for answer in answers:
        assert [face["id"] for face in answer["faces"]] == [1, 2]
        assert [face["fused"] for face in answer["faces"]] == [True, False]
        assert all(sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3) for face in answer["faces"])
    assert answers[-1]["faces"][0]["probabilities"] != answers[-1]["faces"][1]["probabilities"]
    first, last = answers[-1]["windows"]["video"]
    assert 0 <= last - first <= 3


def test_the_newest_picture_is_answered_and_the_others_are_counted(cloud: CloudServer) -> None:
    with streaming(cloud, hop_s=0.5) as socket:
        for place in range(12):
            socket.send(timed(float(place), drawn_face()))
        answered, skipped, newest = 0, 0, -1.0
        while newest < 11.0:
            answer = told(socket)
            assert answer["picture_time_s"] > newest
            answered, skipped, newest = answered + 1, skipped + answer["skipped"], answer["picture_time_s"]
    assert answered + skipped == 12
    assert skipped > 0


def test_nobody_in_the_picture_is_said_and_the_stream_goes_on(cloud: CloudServer) -> None:
    with streaming(cloud) as socket:
        socket.send(timed(0.0, np.full((480, 640, 3), 120, np.uint8)))
        nothing = told(socket)
        assert "no face was found" in nothing["nothing"]
        assert nothing["faces"] == []
        # An empty room is looked at every 0.4 s.
        answer = nothing
        while "nothing" in answer:
            socket.send(timed(1.0, drawn_face()))
            answer = told(socket)
        assert answer["modalities"] == ["video"]


def test_a_correction_with_consent_becomes_an_example_and_others_do_not(
    cloud: CloudServer, folder: Path, registry: Registry
) -> None:
    kept = {}
    with streaming(cloud) as socket:
        for name, consent in (("allowed", True), ("refused", False)):
            socket.send(timed(0.0 if consent else 1.0, drawn_face()))
            answer = told(socket)
            socket.send(json.dumps({"hold": answer["request_id"]}))
            correction = {"request_id": answer["request_id"], "label": "sadness", "model_version": "v1"}
            socket.send(json.dumps({"feedback": correction | {"idempotency_key": name, "consent": consent}}))
            kept[name] = told(socket)["feedback"]
        forgotten = {"request_id": "long-ago", "label": "joy", "idempotency_key": "forgotten", "consent": True}
        socket.send(json.dumps({"feedback": forgotten}))
        assert told(socket)["feedback"]["features"] == []
    assert kept["allowed"] | {"request_id": ""} == {
        "request_id": "", "accepted": True, "duplicate": False, "features": ["video"],
    }  # fmt: skip
    assert kept["refused"]["features"] == []
    said = list(feedback.newest(registry, since=datetime(2020, 1, 1, tzinfo=UTC), most=10))
    assert {each.idempotency_key: each.features is not None for each in said} == {
        "allowed": True, "refused": False, "forgotten": False,
    }  # fmt: skip
    learnable = gather(said, ModelCard.read(folder), 0.3)
    assert learnable.keys == ("allowed",)
    assert learnable.unused == {"without consent": 1, "without features": 1}
    assert learnable.tables["video"].lengths(np.array([0])).tolist() == [1]


def test_a_stream_that_waits_for_its_turn_is_told_so_and_answered_then(folder: Path) -> None:
    engines: list[LocalEngine] = []

    async def engine() -> Engine:
        engines.append(LocalEngine(await asyncio.to_thread(FullModel.load, folder), BatcherConfig(workers=1)))
        return engines[0]

    with background(engine) as cloud, streaming(cloud) as socket:
        loop = cloud._loop
        assert loop is not None
        others = AsyncExitStack()

        async def take_all() -> None:
            for _ in range(3):
                await others.enter_async_context(engines[0].batcher.turn("others", 0.0))

        asyncio.run_coroutine_threadsafe(take_all(), loop).result(60)
        socket.send(timed(1.0, drawn_face()))
        for _ in range(2):
            waits = told(socket)
            assert "the server has many streams to answer" in waits["nothing"]
            assert waits["waited_s"] >= 1.9
        socket.send(timed(2.0, drawn_face()))
        asyncio.run_coroutine_threadsafe(others.aclose(), loop).result(60)
        answer = told(socket)
        # The newest picture, and how long it took.
        assert (answer["modalities"], answer["picture_time_s"], answer["skipped"]) == (["video"], 2.0, 1)
        assert answer["waited_s"] > 3.8
        socket.send(timed(3.0, drawn_face()))
        assert told(socket)["waited_s"] < answer["waited_s"]


def test_a_version_that_is_replaced_hands_its_streams_over(folder: Path, tmp_path: Path) -> None:
    other = small_media_model(tmp_path, version="v2")

    async def opened(path: Path) -> Engine:
        return LocalEngine(await asyncio.to_thread(FullModel.load, path), BatcherConfig(workers=1))

    versions = VersionedEngine(opened)

    async def engine() -> Engine:
        await versions.load(folder)
        return versions

    with background(engine) as cloud, streaming(cloud) as socket:
        socket.send(timed(1.0, drawn_face()))
        assert told(socket)["model_version"] == "v1"
        loop = cloud._loop
        assert loop is not None
        asyncio.run_coroutine_threadsafe(versions.apply({"v2": other}, {"v2": 1.0}), loop).result(60)
        socket.send(timed(2.0, drawn_face()))
        answer = told(socket)
        assert (answer["model_version"], answer["picture_time_s"]) == ("v2", 2.0)


def test_an_engine_that_keeps_nothing_is_asked_window_by_window() -> None:
    with background(SmallEngine()) as cloud, streaming(cloud) as socket:
        socket.send(bytes([1]) + picture(64, 64))
        assert told(socket)["modalities"] == ["video"]
        socket.send(noise(0.5))
        socket.send(json.dumps({"text": "well"}))
        while "text" not in (answer := told(socket))["modalities"]:
            pass
        assert answer["faces"] == []


@pytest.mark.parametrize("live", [True, False])
def test_a_stream_that_began_without_a_key_ends_when_keys_are_asked_for(tmp_path: Path, live: bool) -> None:
    def ask(socket: ClientConnection) -> dict[str, Any]:
        # A window of one second is complete.
        socket.send(noise(1.0))
        return told(socket)

    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        _, token = api_keys.create(registry, "mine", ["predict"])
        with background(SmallEngine(), registry=registry) as cloud:
            settings = {"live": live, "window_s": 1.0, "hop_s": 1.0}
            with streaming(cloud, **settings) as keyless:
                assert "error" not in ask(keyless)
                cloud.gateway.ask_for_keys(Access(registry))
                assert ask(keyless)["error"]["type"] == "Unauthenticated"
                with pytest.raises(ConnectionClosed):
                    keyless.recv(timeout=60)
            with streaming(cloud, {"Authorization": f"Bearer {token}"}, **settings) as keyed:
                for _ in range(2):
                    assert "error" not in ask(keyed)


def test_what_is_no_message_ends_the_stream_with_the_reason(cloud: CloudServer) -> None:
    for message in (bytes([7, 1]), bytes([2]) + struct.pack("<d", float("nan")) + b"x", bytes([0, 1])):
        with streaming(cloud) as socket:
            socket.send(message)
            assert told(socket)["error"]["type"] == "InvalidRequest"
