"""REST over real sockets: what it answers when all is well."""

from __future__ import annotations

import hashlib
import json
import uuid
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.support.media_files import picture, silence, tone, video
from tests.support.small_engine import LABELS, WIDTHS, SmallEngine
from websockets.sync.client import connect

from fedaffect.edge.prediction import Prediction
from fedaffect.server.registry import Registry, api_keys, bundles, feedback
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.limits import Limits
from fedaffect.server.serving.http.app import rest_over


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path_factory.mktemp('registry') / 'server.db'}") as opened:
        yield opened


@pytest.fixture(scope="module")
def engine() -> SmallEngine:
    return SmallEngine()


@pytest.fixture(scope="module")
def cloud(engine: SmallEngine, registry: Registry) -> Iterator[CloudServer]:
    with background(
        engine, registry=registry, limits=Limits(default_deadline_ms=600_000, longest_deadline_ms=600_000)
    ) as server:
        yield server


@pytest.fixture(scope="module")
def http(cloud: CloudServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cloud.rest_url, timeout=120) as client:
        yield client


def features(modality: str, rows: int = 3, seed: int = 0) -> dict[str, object]:
    values = np.random.default_rng(seed).normal(size=(rows, WIDTHS[modality])).astype("<f2")
    packed = b64encode(values.tobytes()).decode()
    return {"encoder_key": "k", "rows": rows, "width": WIDTHS[modality], "values": packed}


def test_words_by_json_are_answered_with_the_keys_of_a_prediction(http: httpx.Client) -> None:
    reply = http.post("/v1/predict", json={"request_id": "a-1", "text": "what a day"})
    body = reply.json()
    assert reply.status_code == 200
    assert body.pop("request_id") == "a-1"
    prediction = Prediction(**body)
    assert prediction.source == "cloud"
    assert prediction.modalities == ["text"]
    assert set(prediction.probabilities) == set(LABELS)
    assert prediction.confidence == prediction.probabilities[prediction.label] == max(prediction.probabilities.values())
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert "compute;dur=" in reply.headers["server-timing"]


def test_multipart_and_json_give_one_answer(http: httpx.Client) -> None:
    sound, seen = tone(), picture()
    files = {"audio": ("a.wav", sound), "video": ("a.png", seen)}
    by_form = http.post("/v1/predict", data={"text": "well"}, files=files).json()
    encoded = {"audio": b64encode(sound).decode(), "video": b64encode(seen).decode()}
    by_json = http.post("/v1/predict", json={"text": "well", **encoded}).json()
    assert by_form["modalities"] == ["text", "audio", "video"]
    assert by_form["probabilities"] == by_json["probabilities"]


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("audio", tone(kind="FLAC")),
        ("audio", tone(kind="OGG")),
        ("audio", tone(kind="MP3")),
        ("audio", silence()),
        ("video", picture(kind="JPEG")),
        ("video", picture(kind="WEBP")),
        ("video", video()),
        ("video", video(kind="matroska")),
        ("video", video(kind="avi")),
    ],
)
def test_media_of_many_kinds_are_known_by_their_content(http: httpx.Client, field: str, data: bytes) -> None:
    # The name and type that the sender gives do not matter.
    reply = http.post("/v1/predict", files={field: ("x.txt", data, "text/plain")})
    assert reply.status_code == 200, reply.text
    assert reply.json()["modalities"] == [field]


def test_features_are_answered_and_their_absence_of_media_is_no_matter(http: httpx.Client) -> None:
    given = {"features": {"audio": features("audio"), "text": features("text")}, "bundle_version": "b"}
    reply = http.post("/v1/predict/features", json=given)
    assert reply.status_code == 200
    assert reply.json()["modalities"] == ["text", "audio"]


def test_a_repeated_id_is_answered_from_memory(http: httpx.Client, engine: SmallEngine) -> None:
    request_id = uuid.uuid4().hex
    first = http.post("/v1/predict", json={"request_id": request_id, "text": "twice"}).json()
    asked = engine.asked
    second = http.post("/v1/predict", json={"text": "twice"}, headers={"Idempotency-Key": request_id}).json()
    assert engine.asked == asked
    assert first | {"latency_ms": 0} == second | {"latency_ms": 0}
    other = http.post("/v1/predict", json={"request_id": request_id, "text": "something else"})
    assert other.status_code == 422
    assert request_id in other.json()["error"]["message"]


def test_models_are_listed_and_can_be_asked_for(http: httpx.Client) -> None:
    (model,) = http.get("/v1/models").json()["models"]
    assert (model["version"], model["share"], model["labels"]) == ("small-1", 1.0, list(LABELS))
    asked = http.post("/v1/predict", json={"text": "x", "model_version": "small-1"})
    assert asked.json()["model_version"] == "small-1"
    missing = http.post("/v1/predict", json={"text": "x", "model_version": "small-9"})
    assert missing.status_code == 404


def test_feedback_is_taken_once(http: httpx.Client, registry: Registry) -> None:
    given = {"idempotency_key": "f-1", "request_id": "r-1", "label": "joy", "consent": True}
    given["features"] = {"audio": features("audio")}
    assert http.post("/v1/feedback", json=given).json() == {"accepted": True, "duplicate": False, "features": ["audio"]}
    assert http.post("/v1/feedback", json=given).json() == {"accepted": True, "duplicate": True, "features": ["audio"]}
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    (kept,) = [f for f in feedback.newest(registry, since=long_ago, most=1000) if f.idempotency_key == "f-1"]
    assert (kept.label, kept.request_id) == ("joy", "r-1")
    assert kept.caller


def test_feedback_comes_in_a_stream_too_and_a_refusal_does_not_end_it(cloud: CloudServer, registry: Registry) -> None:
    given = {"idempotency_key": "w-1", "request_id": "r-1", "label": "joy", "consent": True}
    with connect(f"ws{cloud.rest_url[4:]}/v1/stream", open_timeout=120, close_timeout=120) as socket:
        socket.send("{}")
        told = []
        for said in (given, given | {"label": "joyful"}, given):
            socket.send(json.dumps({"feedback": said}))
            told.append(json.loads(socket.recv(timeout=120))["feedback"])
        socket.send(json.dumps({"text": "what a day", "end": True}))
        assert [json.loads(message)["modalities"] for message in socket] == [["text"]]
    assert [(one["request_id"], one["accepted"]) for one in told] == [("r-1", True), ("r-1", False), ("r-1", True)]
    assert "vocabulary" in told[1]["error"]["message"]
    assert told[2]["duplicate"]
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert "w-1" in {f.idempotency_key for f in feedback.newest(registry, since=long_ago, most=1000)}


@pytest.mark.parametrize(
    "change",
    [{"label": "joyful"}, {"consent": False}, {"idempotency_key": ""}, {"features": {"smell": features("audio")}}],
)
def test_feedback_that_makes_no_sense_is_refused(http: httpx.Client, change: dict[str, object]) -> None:
    given = {"idempotency_key": "f-2", "request_id": "r", "label": "joy", "consent": True}
    given["features"] = {"audio": features("audio")}
    assert http.post("/v1/feedback", json=given | change).status_code == 422


def test_state_is_told_without_a_key(http: httpx.Client) -> None:
    assert http.get("/livez").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready"}
    http.post("/v1/predict", json={})
    metrics = http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    for name in (
        "fedaffect_request_seconds_bucket",
        "fedaffect_queue_seconds",
        "fedaffect_batch_budget",
        "fedaffect_in_",
    ):
        assert name in metrics.text
    assert 'fedaffect_refusals_total{reason="InvalidRequest"}' in metrics.text


def test_the_description_shows_an_example_of_each_body(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    for path in ("/v1/predict", "/v1/predict/features", "/v1/feedback"):
        content = paths[path]["post"]["requestBody"]["content"]
        assert content["application/json"]["example"]
    answered = http.post(
        "/v1/predict", json=paths["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    )
    assert answered.status_code == 200


def test_the_description_says_which_calls_take_a_key_and_whether_they_must(registry: Registry) -> None:
    open_to_all = {"/livez", "/readyz"}
    gateway = Gateway(SmallEngine(), registry=registry)
    app = rest_over(gateway)
    expectations: tuple[list[dict[str, list[str]]], ...] = ([{"key": []}, {}], [{"key": []}])
    for expected in expectations:
        described = app.openapi()
        scheme = described["components"]["securitySchemes"]["key"]
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
        for path, operations in described["paths"].items():
            for operation in operations.values():
                assert operation.get("security") == (None if path in open_to_all else expected), path
        gateway.ask_for_keys(Access(registry))
    gateway.close()


def offered(registry: Registry, folder: Path, version: str, size: int) -> bytes:
    data = np.random.default_rng(1).bytes(size)
    tar = folder / f"{version}.tar"
    tar.write_bytes(data)
    bundles.add(registry, version=version, path=tar, sha256=hashlib.sha256(data).hexdigest(), size_bytes=size)
    bundles.offer(registry, version)
    return data


def test_a_bundle_comes_whole_or_from_any_offset(http: httpx.Client, registry: Registry, tmp_path: Path) -> None:
    data = offered(registry, tmp_path, "b-1", 700_001)
    whole = http.get("/v1/bundles/b-1")
    assert (whole.status_code, whole.content) == (200, data)
    assert whole.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    rest = http.get("/v1/bundles/latest", headers={"Range": "bytes=300000-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, data[300_000:])
    assert rest.headers["content-range"] == "bytes 300000-700000/700001"
    middle = http.get("/v1/bundles/b-1", headers={"Range": "bytes=5-9"})
    assert (middle.status_code, middle.content) == (206, data[5:10])
    changed = http.get("/v1/bundles/b-1", headers={"Range": "bytes=300000-", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, data)
    behind = http.get("/v1/bundles/b-1", headers={"Range": "bytes=700001-"})
    assert behind.status_code == 416
    assert http.get("/v1/bundles/b-9").status_code == 404


def test_a_bundle_whose_file_is_gone_is_unavailable(http: httpx.Client, registry: Registry, tmp_path: Path) -> None:
    offered(registry, tmp_path, "b-2", 10)
    (tmp_path / "b-2.tar").unlink()
    reply = http.get("/v1/bundles/b-2")
    assert reply.status_code == 503
    assert str(tmp_path) not in reply.text


def test_the_description_is_one_that_client_generators_take(http: httpx.Client) -> None:
    described = http.get("/openapi.json").json()
    names = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)
    assert {"predict", "predict_features", "give_feedback"} <= set(names)
    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}

    def look(node: object) -> None:
        if isinstance(node, dict):
            assert node.get("$ref", min(known)) in known
            # openapi-python-client drops an operation with an object that is written out inside of a union.
            assert all("properties" not in member for member in node.get("anyOf", ()))
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look({name: described[name] for name in ("paths", "components")})


def test_a_batch_is_answered_in_its_order_and_each_by_itself(http: httpx.Client) -> None:
    good = [{"request_id": f"b-{place}", "text": text} for place, text in enumerate(("what a day", "well", "no"))]
    bad = {"audio": b64encode(b"no sound").decode()}
    asked = [good[0], bad, good[1], {"text": "x", "adapt": "tlh"}, {"audio": "?"}, good[2], {}]
    reply = http.post("/v1/predict/batch", json={"requests": asked})
    assert reply.status_code == 200
    replies = reply.json()["replies"]
    assert ["error" in each for each in replies] == [False, True, False, True, True, False, True]
    for body, given in zip((replies[0], replies[2], replies[5]), good, strict=True):
        assert body["request_id"] == given["request_id"]
        alone = http.post("/v1/predict", json={"text": given["text"]}).json()
        assert body["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)


@pytest.mark.parametrize("requests", [[], [{"text": "a"}] * 33, [{"txt": "a"}]])
def test_a_batch_that_is_none(http: httpx.Client, requests: list[dict[str, str]]) -> None:
    assert http.post("/v1/predict/batch", json={"requests": requests}).status_code == 422


def test_a_batch_spends_a_keys_rate_for_each_of_its_samples(registry: Registry) -> None:
    _, key = api_keys.create(registry, "kiosk", ["predict"], requests_per_minute=3)
    with (
        background(SmallEngine(), registry=registry, access=Access(registry)) as server,
        httpx.Client(base_url=server.rest_url, headers={"Authorization": f"Bearer {key}"}, timeout=120) as client,
    ):
        replies = client.post("/v1/predict/batch", json={"requests": [{"text": "a"}] * 5}).json()["replies"]
    assert ["label" in reply for reply in replies].count(True) == 3
    assert [reply["error"]["type"] for reply in replies if "error" in reply] == ["Overloaded", "Overloaded"]
