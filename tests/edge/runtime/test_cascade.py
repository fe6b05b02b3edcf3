"""The device and the cloud together, over real sockets: a cloud that answers, and clouds that do not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from time import perf_counter

import numpy as np
import pytest

from fedaffect.edge import EdgeRuntime, Prediction, Sample
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.cloud import CloudBusy, CloudRefused, connect
from fedaffect.edge.errors import DataError
from fedaffect.edge.labels import LABEL_SETS
from fedaffect.edge.offload import Circuit, OffloadConfig, OffloadPolicy
from fedaffect.edge.offload.pooling import pool
from fedaffect.edge.runtime.cascade import pooled
from fedaffect.edge.runtime.probes import drawn_frames, probe_sample, spoken
from fedaffect.edge.runtime.question import Question
from fedaffect.edge.sample import Frames
from fedaffect.server.serving.app import background
from fedaffect.server.serving.engines.engine import Answer, ModelInfo, Request
from fedaffect.server.serving.engines.following import Follower, WholeWindows

LABELS = LABEL_SETS["shared7"].labels
UNSURE = OffloadConfig(thresholds={"default": 1.1}, expected_round_trip_ms=1.0, calls_per_minute=None)


class Counting:
    """A real engine of one line: how much of what reached it."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def predict(self, request: Request) -> Answer:
        self.asked.append(request)
        modalities = tuple(request.features) or request.sample.modalities
        shares = dict(zip(LABELS, np.eye(len(LABELS))[2].tolist(), strict=True))
        return Answer(
            label=LABELS[2],
            probabilities=shares,
            confidence=1.0,
            modalities=modalities,
            model_version="counting-1",
            notes=("counted",),
        )

    def follow(self, client: str, window_s: float) -> Follower:
        return WholeWindows(self, client, window_s)

    def check_room(self, client: str) -> None:
        """There is always room."""

    def models(self) -> tuple[ModelInfo, ...]:
        return (
            ModelInfo(
                version="counting-1",
                profile="edge-features",
                label_set="shared7",
                labels=LABELS,
                modalities=("text", "audio", "video"),
                share=1.0,
            ),
        )

    def ready(self) -> bool:
        return True

    async def close(self, drain_s: float) -> None:
        return None


@contextmanager
def asking(bundle: Bundle, address: str, privacy: str, config: OffloadConfig = UNSURE) -> Iterator[EdgeRuntime]:
    with EdgeRuntime.load(bundle, cloud=connect(address), policy=OffloadPolicy(config), privacy=privacy) as runtime:
        yield runtime


@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("privacy", ["raw", "features"])
def test_the_cloud_answers_what_the_device_is_unsure_of(answering_bundle: Bundle, transport: str, privacy: str) -> None:
    engine = Counting()
    with background(engine) as server:
        address = f"grpc://{server.grpc_target}" if transport == "grpc" else server.rest_url
        with asking(answering_bundle, address, privacy) as runtime:
            answer = runtime.predict(probe_sample(), deadline_ms=60_000)
            keys = {m: runtime._current().encoders[m].key for m in ("text", "audio", "video")}
            tokens = runtime.features(probe_sample())
    assert (answer.source, answer.label, answer.model_version) == ("cloud", LABELS[2], "counting-1")
    assert answer.offload_reason == "unsure"
    assert "counted" in answer.notes
    (request,) = engine.asked
    if privacy == "raw":
        assert not request.features
        assert request.sample.modalities == ("text", "audio", "video")
    else:
        assert request.sample is None
        assert dict(request.encoder_keys) == keys
        for modality, values in tokens.items():
            np.testing.assert_allclose(request.features[modality], values, rtol=2e-3, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_the_device_has_its_say_in_what_the_cloud_answers(answering_bundle: Bundle, share: float) -> None:
    sample = Sample(id="a", text="sad")
    with EdgeRuntime.load(answering_bundle) as alone:
        mine = alone.predict(sample)
    config = replace(UNSURE, cloud_share=share)
    with background(Counting()) as server, asking(answering_bundle, server.rest_url, "raw", config) as runtime:
        answer = runtime.predict(sample, deadline_ms=60_000)
    cloud = np.eye(len(LABELS))[2]
    wanted = pool(np.array([mine.probabilities[label] for label in LABELS]), cloud, share)
    assert answer.source == "cloud"
    np.testing.assert_allclose([answer.probabilities[label] for label in LABELS], wanted, atol=1e-6)
    assert answer.confidence == answer.probabilities[answer.label] == max(answer.probabilities.values())


def test_an_answer_in_other_words_is_the_clouds_alone() -> None:
    mine = Prediction("joy", {"joy": 0.6, "anger": 0.4}, 0.6, "edge", ("text",), 1.0, "b", "")
    theirs = replace(mine, label="sadness", probabilities={"joy": 0.3, "anger": 0.2, "sadness": 0.5})
    assert pooled(mine, theirs, 0.5) is theirs


@pytest.mark.slow
def test_never_means_never(answering_bundle: Bundle) -> None:
    engine = Counting()
    with background(engine) as server, asking(answering_bundle, server.rest_url, "never") as runtime:
        answer = runtime.predict(probe_sample())
    assert (answer.source, answer.offload_reason) == ("edge", "privacy")
    assert engine.asked == []


def test_what_the_device_is_sure_of_stays_there(answering_bundle: Bundle) -> None:
    engine = Counting()
    sure = OffloadConfig(thresholds={"default": 0.0})
    with background(engine) as server, asking(answering_bundle, server.rest_url, "raw", sure) as runtime:
        assert runtime.predict(Sample(id="a", text="sad")).offload_reason == "confident"
    assert engine.asked == []


@pytest.mark.slow
def test_only_what_was_usable_leaves_the_device(answering_bundle: Bundle) -> None:
    engine = Counting()
    room = Frames(np.full((5, 240, 426, 3), 90, np.uint8), 5.0)
    with background(engine) as server, asking(answering_bundle, server.rest_url, "raw") as runtime:
        answer = runtime.predict(Sample(id="a", text="sad", video=room), deadline_ms=60_000)
    assert engine.asked[0].sample.modalities == ("text",)
    assert any("no face" in note for note in answer.notes)


@pytest.mark.slow
@pytest.mark.parametrize("privacy", ["raw", "features"])
def test_a_stream_asks_too(answering_bundle: Bundle, privacy: str) -> None:
    engine = Counting()
    with (
        background(engine) as server,
        asking(answering_bundle, f"grpc://{server.grpc_target}", privacy) as runtime,
    ):
        answers = list(runtime.stream(drawn_frames(8.0), spoken(8.0), "i am sad", hop_s=2.5))
    assert len(answers) == 3
    # Each either came from the cloud within its hop, or says why not.
    assert all(a.source == "cloud" or a.offload_reason in ("cloud-failed", "deadline") for a in answers)
    assert engine.asked
    with_media = engine.asked[0].sample
    assert (with_media is not None) == (privacy == "raw")
    if with_media is not None:
        assert with_media.modalities == ("text", "audio", "video")


ROOM = Frames(np.full((5, 240, 426, 3), 90, np.uint8), 5.0)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_cloud_is_asked_where_the_device_can_use_nothing(
    make_bundle: Callable[..., Path], answering_bundle: Bundle, transport: str
) -> None:
    words_only = Bundle.load(make_bundle(3, modalities=("text",)), trust=None)
    sure = OffloadConfig(thresholds={"default": 0.0}, expected_round_trip_ms=1.0)
    voice = Sample(id="a", text="  ", audio=probe_sample().audio)
    engine = Counting()
    with background(engine) as server:
        address = f"grpc://{server.grpc_target}" if transport == "grpc" else server.rest_url
        for bundle, sample, says, left in (
            (words_only, voice, "no encoder for it", ("audio",)),
            (answering_bundle, Sample(id="b", video=ROOM), "no face was found", ("video",)),
        ):
            with asking(bundle, address, "raw", sure) as runtime:
                answer = runtime.predict(sample, deadline_ms=60_000)
            assert (answer.source, answer.label, answer.offload_reason) == ("cloud", LABELS[2], "nothing-usable")
            assert answer.modalities == left
            assert answer.notes[0].startswith("nothing of it could be used on this device: ")
            assert says in answer.notes[0]
            assert "counted" in answer.notes
            assert engine.asked[-1].sample.modalities == left
            assert engine.asked[-1].id == answer.request_id
            assert answer.latency_ms > 0


@pytest.mark.parametrize(
    ("privacy", "config", "deadline_ms"),
    [
        ("never", UNSURE, None),
        ("features", UNSURE, None),
        ("raw", OffloadConfig(expected_round_trip_ms=1e9), 60_000),
        ("raw", OffloadConfig(calls_per_minute=0), None),
        ("raw", OffloadConfig(bytes_per_minute=10), None),
    ],
)
def test_it_is_asked_instead_only_where_it_may_be(
    answering_bundle: Bundle, privacy: str, config: OffloadConfig, deadline_ms: float | None
) -> None:
    engine = Counting()
    with background(engine) as server, asking(answering_bundle, server.rest_url, privacy, config) as runtime:
        with pytest.raises(DataError, match="no face was found"):
            runtime.predict(Sample(id="a", video=ROOM), deadline_ms)
        with pytest.raises(DataError, match="empty"):
            runtime.predict(Sample(id="a", text=" "), deadline_ms)
    assert engine.asked == []


@pytest.mark.slow
def test_where_neither_can_the_error_is_the_devices(
    answering_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For a question without a deadline of its own, retries included.
    monkeypatch.setattr("fedaffect.edge.runtime.cascade.PREDICT_DEADLINE_MS", 800.0)
    policy = OffloadPolicy(UNSURE)
    with misbehaving(_garbage) as target:
        cloud = connect(f"http://{target}")
        with EdgeRuntime.load(answering_bundle, cloud=cloud, policy=policy, privacy="raw") as runtime:
            with pytest.raises(DataError, match="does not exist"):
                runtime.predict(Sample(id="a", video=tmp_path / "gone.mp4"))
            assert policy.state().circuit == Circuit.CLOSED
            for _ in range(4):
                with pytest.raises(DataError, match="no face was found"):
                    runtime.predict(Sample(id="a", video=ROOM))
            assert policy.state().circuit == Circuit.OPEN


@pytest.mark.slow
def test_files_may_be_named_by_strings(answering_bundle: Bundle, made, tmp_path: Path) -> None:
    made.write_sound(tmp_path / "voice.wav", spoken(2.0))
    engine = Counting()
    with background(engine) as server, asking(answering_bundle, server.rest_url, "raw") as runtime:
        answer = runtime.predict(Sample(id="a", audio=str(tmp_path / "voice.wav")), deadline_ms=60_000)
    assert (answer.source, answer.modalities) == ("cloud", ("audio",))


def _hang(connection: socket.socket, stop: Event) -> None:
    stop.wait()


def _half_close(connection: socket.socket, stop: Event) -> None:
    connection.recv(100)
    connection.shutdown(socket.SHUT_WR)
    stop.wait()


def _reset(connection: socket.socket, stop: Event) -> None:
    connection.recv(100)


def _garbage(connection: socket.socket, stop: Event) -> None:
    connection.recv(100)
    connection.sendall(np.random.default_rng(0).bytes(4_000))
    stop.wait()


def _wrong(connection: socket.socket, stop: Event) -> None:
    """Perfect HTTP, and a reply that is no prediction."""
    connection.recv(100_000)
    body = b'{"label": "joy", "probabilities": {"joy": NaN}}'
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    stop.wait()


@contextmanager
def misbehaving(behave: Callable[[socket.socket, Event], None]) -> Iterator[str]:
    stop = Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            behave(connection, stop)

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        listener.close()


@pytest.mark.parametrize("face", ["grpc", "http"])
@pytest.mark.parametrize("behave", [_hang, _half_close, _reset, _garbage, _wrong])
def test_whatever_the_cloud_does_the_device_answers(
    answering_bundle: Bundle, behave: Callable[[socket.socket, Event], None], face: str
) -> None:
    sample = Sample(id="a", text="i am sad")
    with misbehaving(behave) as target, asking(answering_bundle, f"{face}://{target}", "raw") as runtime:
        runtime.predict(Sample(id="warm", text="sad"), deadline_ms=1)
        started_s = perf_counter()
        answer = runtime.predict(sample, deadline_ms=1_500)
        waited_s = perf_counter() - started_s
    assert answer.source == "edge"
    assert answer.offload_reason == "cloud-failed"
    assert "the cloud was asked and did not answer: " in answer.notes[-1]
    with EdgeRuntime.load(answering_bundle) as alone:
        assert answer.probabilities == alone.predict(sample).probabilities
    # Far above the deadline, for a busy machine; a call that waited for the peer would never end.
    assert waited_s < 60


@pytest.mark.slow
def test_nobody_listens(answering_bundle: Bundle) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with asking(answering_bundle, f"http://127.0.0.1:{port}", "features") as runtime:
        answers = [runtime.predict(Sample(id="a", text="sad"), deadline_ms=1_000) for _ in range(5)]
    reasons = [answer.offload_reason for answer in answers]
    assert reasons[0] == "cloud-failed"
    assert reasons[-1] in ("circuit-open", "deadline")


class Scripted:
    """A client that does what a test says; the network has been tried above."""

    def __init__(self, act: Callable[[float], Prediction]) -> None:
        self.act = act

    def predict(self, sample: Sample | None, *, deadline_ms: float, **about: object) -> Prediction:
        return self.act(deadline_ms)

    def close(self) -> None:
        return None


def test_a_client_that_overstays_its_deadline_keeps_nobody_waiting(answering_bundle: Bundle) -> None:
    release = Event()

    def sleep_on(deadline_ms: float) -> Prediction:
        release.wait(60)
        raise AssertionError("nobody listens any more")

    policy = OffloadPolicy(UNSURE)
    with EdgeRuntime.load(answering_bundle, cloud=Scripted(sleep_on), policy=policy, privacy="raw") as runtime:
        answer = runtime.predict(Sample(id="a", text="sad"), deadline_ms=1_500)
    release.set()
    assert answer.offload_reason == "cloud-failed"
    assert "no answer within" in answer.notes[-1]


@pytest.mark.parametrize(
    ("error", "circuit"),
    [(CloudBusy("full"), Circuit.OPEN), (CloudRefused("no", 422), Circuit.CLOSED), (ZeroDivisionError(), Circuit.OPEN)],
)
def test_refusals_are_the_requests_own_fault(answering_bundle: Bundle, error: Exception, circuit: Circuit) -> None:
    def fail(deadline_ms: float) -> Prediction:
        raise error

    policy = OffloadPolicy(UNSURE)
    with EdgeRuntime.load(answering_bundle, cloud=Scripted(fail), policy=policy, privacy="raw") as runtime:
        for _ in range(4):
            assert runtime.predict(Sample(id="a", text="sad")).source == "edge"
    assert policy.state().circuit == circuit


def test_no_time_is_left(answering_bundle: Bundle) -> None:
    def never(deadline_ms: float) -> Prediction:
        raise AssertionError("asked without time")

    with EdgeRuntime.load(
        answering_bundle, cloud=Scripted(never), policy=OffloadPolicy(UNSURE), privacy="raw"
    ) as runtime:
        answer = runtime.predict(Sample(id="a", text="sad"), deadline_ms=0.001)
    assert answer.offload_reason == "deadline"
    assert "took longer than" in answer.notes[-1]


@pytest.mark.parametrize("own", [None, 0.0, 1.0])
def test_thresholds_come_from_the_bundle_that_answers(make_bundle: Callable[..., Path], own: float | None) -> None:
    sure, unsure, silent = (
        Bundle.load(make_bundle(seed, thresholds=thresholds), trust=None)
        for seed, thresholds in ((31, {"text": 0.0}), (32, {"text": 1.0}), (33, {"audio": 1.0}))
    )
    policy = None if own is None else OffloadPolicy(OffloadConfig(thresholds={"default": own}))
    sample, engine = Sample(id="a", text="sad"), Counting()
    wanted = {sure.version: "confident", unsure.version: "unsure"}
    if own is not None:
        wanted = dict.fromkeys(wanted, "unsure" if own else "confident")
    with (
        background(engine) as server,
        EdgeRuntime.load(sure, cloud=connect(server.rest_url), policy=policy, privacy="raw") as runtime,
    ):
        for bundle in (None, unsure, sure):
            if bundle is not None:
                runtime.swap(bundle)
            answer = runtime.predict(sample, deadline_ms=60_000)
            assert answer.offload_reason == wanted[runtime.bundle.version]
            (window,) = runtime.stream(text="sad", window_s=30.0, hop_s=30.0)
            assert window.offload_reason == wanted[runtime.bundle.version]
        runtime.swap(silent)
        mine = runtime.predict(sample, deadline_ms=60_000)
        threshold = 0.5 if own is None else own
        with EdgeRuntime.load(silent) as alone:
            confidence = alone.predict(sample).confidence
        assert mine.offload_reason == ("confident" if confidence >= threshold else "unsure")


def test_sizes_are_those_of_what_would_travel(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x" * 1000)
    tokens = {"text": np.zeros((3, 6), np.float32)}
    asked = Question("r", Sample(id="a", text="sad", audio=tmp_path / "a.wav", video=b"y" * 50), tokens)
    assert asked.size_bytes("raw") == 3 + 1000 + 50
    assert asked.size_bytes("features") == 36
    assert asked.size_bytes("never") == 0
    decoded = Question("r", probe_sample(), tokens)
    assert 50_000 < decoded.size_bytes("raw") < 2_000_000
    gone = Question("r", Sample(id="a", video=tmp_path / "gone.mp4"), tokens)
    assert gone.size_bytes("raw") == 0
