"""Both clients against the server they are made for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from tests.support.word_engine import WordEngine

from fedaffect.edge.cloud import CloudClient, CloudGarbage, CloudRefused, GrpcCloud, RestCloud, connect
from fedaffect.edge.cloud.download import Download
from fedaffect.edge.cloud.messages import feedback_request, predict_request
from fedaffect.edge.errors import BundleError, ConfigError, DataError
from fedaffect.edge.sample import Frames, Sample, Waveform
from fedaffect.edge.store import Database, Kind, Queue, Sender
from fedaffect.server.registry import Registry, bundles
from fedaffect.server.serving.app import CloudServer, background

KEYS = {"audio": "key-of-audio"}


@dataclass(frozen=True)
class Cloud:
    server: CloudServer
    engine: WordEngine
    registry: Registry
    tar: bytes


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    registry = Registry.open(f"sqlite:///{folder}/registry.sqlite3")
    tar = np.random.default_rng(0).bytes(1_500_000)
    (folder / "b1.tar").write_bytes(tar)
    bundles.add(registry, version="b1", path=folder / "b1.tar", sha256=sha256(tar).hexdigest(), size_bytes=len(tar))
    bundles.offer(registry, "b1")
    engine = WordEngine()
    with background(engine, registry=registry) as server:
        yield Cloud(server, engine, registry, tar)
    registry.close()


@pytest.fixture(params=["rest", "grpc"])
def client(request: pytest.FixtureRequest, cloud: Cloud) -> Iterator[CloudClient]:
    address = cloud.server.rest_url if request.param == "rest" else f"grpc://{cloud.server.grpc_target}"
    opened = connect(address)
    assert isinstance(opened, RestCloud if request.param == "rest" else GrpcCloud)
    yield opened
    opened.close()


def test_words_sound_and_pictures_arrive_as_they_are(client: CloudClient, cloud: Cloud) -> None:
    tone = np.sin(np.arange(8000) / 20).astype(np.float32) * 0.3
    pictures = np.zeros((3, 48, 64, 3), np.uint8)
    pictures[:, :, :, 0] = 200
    name = f"media-{type(client).__name__}"
    sample = Sample(id=name, text="grüße, joy", audio=Waveform(tone, 16000), video=Frames(pictures, 5.0))
    prediction = client.predict(sample, request_id=name, transcribe=True)
    assert (prediction.label, prediction.source, prediction.offload_reason) == ("joy", "cloud", "unsure")
    assert prediction.modalities == ("text", "audio", "video")
    assert prediction.notes[0] == "a note"
    assert (prediction.transcript, prediction.model_version) == ("heard words", "words-1")
    asked = cloud.engine.asked[-1].sample
    assert asked is not None
    assert asked.text == "grüße, joy"


def test_features_arrive_bit_by_bit(client: CloudClient, cloud: Cloud) -> None:
    name = f"features-{type(client).__name__}"
    features = {"audio": np.linspace(-1, 2, 12, dtype=np.float32).reshape(3, 4)}
    prediction = client.predict(None, request_id=name, features=features, encoder_keys=KEYS, bundle_version="b1")
    assert prediction.label == "joy"
    asked = cloud.engine.asked[-1]
    assert np.array_equal(asked.features["audio"], features["audio"].astype(np.float16))
    assert asked.encoder_keys == KEYS
    assert prediction.request_id == name


def test_a_repeated_request_is_answered_from_memory(client: CloudClient, cloud: Cloud) -> None:
    name = f"again-{type(client).__name__}"
    first = client.predict(Sample(id=name, text="anger"), request_id=name)
    asked = len(cloud.engine.asked)
    second = client.predict(Sample(id=name, text="anger"), request_id=name, deadline_ms=5000.0)
    assert len(cloud.engine.asked) == asked
    assert second.probabilities == first.probabilities


def test_a_refusal_says_why(client: CloudClient) -> None:
    with pytest.raises(CloudRefused, match="as you wish") as caught:
        client.predict(Sample(id="x", text="refuse me"), request_id=f"no-{type(client).__name__}")
    assert caught.value.status == 422


def test_feedback_is_taken_once(client: CloudClient) -> None:
    def tell() -> bool:
        return client.feedback(
            idempotency_key=f"key-{type(client).__name__}",
            request_id="r1",
            label="sadness",
            consent=True,
            features={"audio": np.ones((2, 3))},
            encoder_keys=KEYS,
        )

    assert tell() is True
    assert tell() is False


def test_what_cannot_be_asked_is_not_sent(client: CloudClient, cloud: Cloud) -> None:
    asked = len(cloud.engine.asked)
    one = {"audio": np.ones((1, 2))}
    wrong: list[tuple[type[Exception], Callable[[], object]]] = [
        (ConfigError, lambda: client.predict(None, request_id="r")),
        (ConfigError, lambda: client.predict(Sample(id="s"), request_id="r")),
        (
            ConfigError,
            lambda: client.predict(Sample(id="s", text="a"), request_id="r", features=one, encoder_keys=KEYS),
        ),
        (ConfigError, lambda: client.predict(None, request_id="r", features=one)),
        (ConfigError, lambda: client.predict(Sample(id="s", text="a"), request_id="my words\n")),
        (ConfigError, lambda: client.predict(Sample(id="s", text="a"), request_id="r", deadline_ms=float("inf"))),
        (
            DataError,
            lambda: client.predict(
                None, request_id="r", features={"audio": np.full((1, 2), np.nan)}, encoder_keys=KEYS
            ),
        ),
        (DataError, lambda: client.predict(Sample(id="s", audio=Path("/nowhere.wav")), request_id="r")),
        (ConfigError, lambda: client.feedback(idempotency_key="k", request_id="r", label="hungry", consent=True)),
        (
            ConfigError,
            lambda: client.feedback(
                idempotency_key="k", request_id="r", label="joy", consent=False, features=one, encoder_keys=KEYS
            ),
        ),
    ]
    for error, call in wrong:
        with pytest.raises(error):
            call()
    assert len(cloud.engine.asked) == asked


def test_a_bundle_comes_whole(client: CloudClient, cloud: Cloud, tmp_path: Path) -> None:
    assert client.fetch_bundle("", tmp_path / "new" / "b.tar").read_bytes() == cloud.tar
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["b.tar"]
    with pytest.raises(CloudRefused) as caught:
        client.fetch_bundle("b99", tmp_path / "none.tar")
    assert caught.value.status == 404
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="choose another path"):
        client.fetch_bundle("b1", tmp_path / "file" / "b.tar")


def test_a_download_goes_on_where_it_stopped(client: CloudClient, cloud: Cloud, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    begun = Download(target, "b1")
    begun.begins(sha256(cloud.tar).hexdigest(), len(cloud.tar))
    # Were the beginning fetched again, this wrong byte would not be found out.
    begun.append(b"X" + cloud.tar[1:700_000])
    with pytest.raises(CloudGarbage, match="SHA-256"):
        client.fetch_bundle("b1", target)
    assert not target.exists()
    begun = Download(target, "b1")
    begun.begins(sha256(cloud.tar).hexdigest(), len(cloud.tar))
    begun.append(cloud.tar[:700_000])
    assert client.fetch_bundle("b1", target).read_bytes() == cloud.tar


def test_a_beginning_of_other_content_is_thrown_away(client: CloudClient, cloud: Cloud, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    begun = Download(target, "")
    begun.begins(sha256(b"older").hexdigest(), 900_000)
    begun.append(b"o" * 500_000)
    assert client.fetch_bundle("", target).read_bytes() == cloud.tar


def test_a_download_that_was_complete_is_only_checked(client: CloudClient, cloud: Cloud, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    begun = Download(target, "b1")
    begun.begins(sha256(cloud.tar).hexdigest(), len(cloud.tar))
    begun.append(cloud.tar)
    assert client.fetch_bundle("b1", target).read_bytes() == cloud.tar


def test_rest_lists_the_models(cloud: Cloud) -> None:
    client = RestCloud(cloud.server.rest_url)
    assert [model["version"] for model in client.models()] == ["words-1"]
    client.close()


def test_the_queue_drains_into_the_cloud(client: CloudClient, tmp_path: Path) -> None:
    name = type(client).__name__
    with Database(tmp_path / "device.sqlite3") as database:
        queue = Queue(database)
        for request_id, text in ((f"q1-{name}", "anger"), (f"q2-{name}", "refuse me"), (f"q3-{name}", "joy")):
            request = predict_request(Sample(id=request_id, text=text), request_id=request_id)
            queue.put(Kind.PREDICTION, request, request_id)
        key = f"q4-{name}"
        told = feedback_request(
            idempotency_key=key,
            request_id="r1",
            label="joy",
            consent=True,
            features={"audio": np.ones((1, 2))},
            encoder_keys=KEYS,
        )
        queue.put(Kind.EXAMPLE, told, key)
        sent = Sender(queue, client).drain()
        assert (sent.delivered, sent.refused, sent.postponed, sent.stopped_by) == (3, 1, 0, "")
        (left,) = queue.entries()
        assert (left.request_id, left.refused) == (f"q2-{name}", True)
        answers = queue.take_answers()
        assert {id: answer.label for id, answer in answers.items()} == {f"q1-{name}": "anger", f"q3-{name}": "joy"}
    # What was taken once is known when it comes again.
    assert (
        client.feedback(
            idempotency_key=key,
            request_id="r1",
            label="joy",
            consent=True,
            features={"audio": np.ones((1, 2))},
            encoder_keys=KEYS,
        )
        is False
    )


def test_what_cannot_be_sent_now_waits_on(tmp_path: Path) -> None:
    away = connect("http://127.0.0.1:9")
    with Database(tmp_path / "device.sqlite3") as database:
        queue = Queue(database)
        for key in ("a", "b"):
            queue.put(Kind.PREDICTION, predict_request(Sample(id=key, text="joy"), request_id=key), key)
        sent = Sender(queue, away).drain()
        assert (sent.delivered, sent.postponed) == (0, 1)
        assert "no way to the cloud" in sent.stopped_by
        assert [(entry.request_id, entry.attempts) for entry in queue.entries()] == [("a", 1), ("b", 0)]
    away.close()


@pytest.mark.parametrize("address", ["", "127.0.0.1:80", "ftp://x", "grpc://", "http://", "http://[bad"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError):
        connect(address)


def test_a_key_that_no_header_may_hold() -> None:
    for address in ("http://127.0.0.1:1", "grpc://127.0.0.1:1"):
        with pytest.raises(ConfigError, match="API key"):
            connect(address, "my\r\nkey")
