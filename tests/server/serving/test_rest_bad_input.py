"""REST over real sockets: what it answers when something is wrong. Each has its status and says the remedy."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from tests.support.media_files import huge_png, picture, text_bomb_png, tone, video
from tests.support.small_engine import SmallEngine

from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.gateway.limits import Limits

LIMITS = Limits(
    body_bytes=1_000_000,
    text_characters=2_000,
    audio_s=3.0,
    video_s=4.0,
    default_deadline_ms=600_000,
    longest_deadline_ms=600_000,
)


SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 26\r\n"


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudServer]:
    with background(SmallEngine(), limits=LIMITS) as server:
        yield server


@pytest.fixture(scope="module")
def http(cloud: CloudServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cloud.rest_url, timeout=120) as client:
        yield client


def check(reply: httpx.Response, status: int, kind: str) -> str:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error["type"] == kind
    assert set(error) == {"type", "message"}
    return str(error["message"])


@pytest.mark.parametrize(
    ("field", "data", "status", "kind"),
    [
        ("audio", b"RIFF" + bytes(100), 422, "InvalidRequest"),
        ("audio", tone()[:30], 422, "InvalidRequest"),
        ("audio", np.random.default_rng(0).bytes(5000), 422, "InvalidRequest"),
        ("audio", b"fLaC" + np.random.default_rng(0).bytes(5000), 422, "InvalidRequest"),
        ("audio", picture(), 422, "InvalidRequest"),
        ("audio", video(), 422, "InvalidRequest"),
        ("audio", tone(4.0, 8_000), 413, "RequestTooLarge"),
        ("audio", tone(0.05, 96_000, 8), 413, "RequestTooLarge"),
        ("audio", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 422, "InvalidRequest"),
        ("video", b"ffconcat version 1.0\nfile /etc/passwd\n", 422, "InvalidRequest"),
        ("video", SDP, 422, "InvalidRequest"),
        ("audio", SDP.replace(b"video", b"audio"), 422, "InvalidRequest"),
        ("video", b"\x00\x00\x00\x18ftypheic" + bytes(400), 422, "InvalidRequest"),
        ("video", picture()[:60], 422, "InvalidRequest"),
        ("video", picture()[:-200], 422, "InvalidRequest"),
        ("video", video()[:200], 422, "InvalidRequest"),
        ("video", tone(), 422, "InvalidRequest"),
        ("video", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "InvalidRequest"),
        ("video", huge_png(), 413, "RequestTooLarge"),
        ("video", huge_png(6_000, 6_000), 413, "RequestTooLarge"),
        ("video", text_bomb_png(), 422, "InvalidRequest"),
        ("video", video(3840, 2160, 1), 413, "RequestTooLarge"),
        ("video", video(frames=60, fps=10), 413, "RequestTooLarge"),
    ],
)
def test_media_beyond_limits_or_damaged(http: httpx.Client, field: str, data: bytes, status: int, kind: str) -> None:
    message = check(http.post("/v1/predict", files={field: ("x", data)}), status, kind)
    assert ";" in message or "send" in message


@pytest.mark.parametrize("field", ["image", "picture", "sound", "secret words", "x" * 41])
def test_a_field_that_is_not_known_is_not_taken_for_text(http: httpx.Client, field: str) -> None:
    message = check(http.post("/v1/predict", files={field: ("x", picture())}), 422, "InvalidRequest")
    assert "video" in message
    # Named where it looks like a name; others may hold what people said.
    assert (field in message.split("known:")[0]) == field.isidentifier() & (len(field) <= 40)


def test_a_field_of_json_that_is_not_known_is_named_with_the_nearest(http: httpx.Client) -> None:
    message = check(http.post("/v1/predict", json={"text": "a", "trancribe": True}), 422, "InvalidRequest")
    assert message == "there is no field 'trancribe' (did you mean 'transcribe'?); see /openapi.json"
    nested = {"features": {"audio": {"encoder_key": "k", "rows": 1, "width": 1, "values": "ADw=", "rate": 1}}}
    message = check(http.post("/v1/predict/features", json=nested), 422, "InvalidRequest")
    assert message == "there is no field 'rate' in features.audio; see /openapi.json"
    message = check(http.post("/v1/predict", json={"text": "a", "my secret words": 1}), 422, "InvalidRequest")
    assert message == "a field is not known here; see /openapi.json"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"audio": ""},
        {"text": 5},
        {"text": ["a"]},
        {"text": "a", "audio": "not base64!"},
        {"text": "a", "audio": "YWJj*"},
        {"text": "a", "unheard": 1},
        {"text": "a", "request_id": "x" * 201},
        {"text": "a", "request_id": "line\nbreak"},
        {"text": "a", "deadline_ms": 0},
        {"text": "a", "deadline_ms": "soon"},
        {"text": "a", "transcribe": "perhaps"},
        [],
        "text",
    ],
)
def test_json_that_is_no_request(http: httpx.Client, body: Any) -> None:
    check(http.post("/v1/predict", json=body), 422, "InvalidRequest")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"text": "\xff\xfe"}', b'{"text": "\\ud800"}', b"[" * 100_000, b"NaN", b"null"]
)
def test_bytes_that_are_no_json(http: httpx.Client, raw: bytes) -> None:
    reply = http.post("/v1/predict", content=raw, headers={"Content-Type": "application/json"})
    check(reply, 422, "InvalidRequest")


@pytest.mark.parametrize(
    ("content", "headers", "status", "kind"),
    [
        (b"hello", {"Content-Type": "text/plain"}, 415, "UnsupportedMedia"),
        (b"hello", {}, 415, "UnsupportedMedia"),
        (b"{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415, "UnsupportedMedia"),
        (b"--x\r\n", {"Content-Type": "multipart/form-data"}, 422, "InvalidRequest"),
        (b"nothing", {"Content-Type": "multipart/form-data; boundary=x"}, 422, "InvalidRequest"),
        (
            b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--",
            {"Content-Type": "multipart/form-data; boundary=x"},
            422,
            "InvalidRequest",
        ),
        (b'{"text":"a"}', {"Content-Type": "application/json", "X-Deadline-Ms": "soon"}, 422, "InvalidRequest"),
        (b'{"text":"a"}', {"Content-Type": "application/json", "X-Deadline-Ms": "-5"}, 422, "InvalidRequest"),
    ],
)
def test_bodies_of_the_wrong_kind(
    http: httpx.Client, content: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    check(http.post("/v1/predict", content=content, headers=headers), status, kind)


def test_multipart_text_that_is_not_utf8(http: httpx.Client) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xff\xfe\xfa\r\n--x--\r\n'
    reply = http.post("/v1/predict", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    check(reply, 422, "InvalidRequest")


def test_a_field_that_comes_twice(http: httpx.Client) -> None:
    files = [("audio", ("a", tone())), ("audio", ("b", tone()))]
    check(http.post("/v1/predict", files=files), 422, "InvalidRequest")


def test_ten_megabytes_of_text(http: httpx.Client) -> None:
    check(http.post("/v1/predict", json={"text": "a" * 2_001}), 413, "RequestTooLarge")
    check(http.post("/v1/predict", json={"text": "a" * 10_000_000}), 413, "RequestTooLarge")


def packed(values: np.ndarray[Any, Any], rows: int, width: int) -> dict[str, Any]:
    data = b64encode(values.astype("<f2").tobytes()).decode()
    return {"features": {"audio": {"encoder_key": "k", "rows": rows, "width": width, "values": data}}}


@pytest.mark.parametrize(
    "body",
    [
        packed(np.full((2, 12), np.nan), 2, 12),
        packed(np.full((2, 12), np.inf), 2, 12),
        packed(np.zeros((2, 13)), 2, 13),
        packed(np.zeros((2, 12)), 3, 12),
        packed(np.zeros((2, 12)), 2**32 - 1, 2**32 - 1),
        packed(np.zeros((2, 12)), 0, 12),
        packed(np.zeros((2, 12)), -2, 12),
        packed(np.zeros((5000, 1)), 5000, 1),
        {"features": {}},
        {"features": {"smell": packed(np.zeros((2, 12)), 2, 12)["features"]["audio"]}},
        {"features": {"audio": {"rows": 1, "width": 1, "values": "?"}}},
        {},
    ],
)
def test_features_that_fit_nothing(http: httpx.Client, body: dict[str, Any]) -> None:
    check(http.post("/v1/predict/features", json=body), 422, "InvalidRequest")


@pytest.mark.slow
def test_a_deadline_that_cannot_be_kept_is_504() -> None:
    engine = SmallEngine()
    engine.hold.clear()
    with background(engine, drain_s=0.1) as cloud:
        for headers, extra in (({"X-Deadline-Ms": "50"}, {}), ({}, {"deadline_ms": 50})):
            reply = httpx.post(f"{cloud.rest_url}/v1/predict", json={"text": "a"} | extra, headers=headers, timeout=120)
            check(reply, 504, "DeadlinePassed")


def test_no_model_is_503_and_not_ready() -> None:
    engine = SmallEngine()
    engine.loaded = False
    engine.closed = True
    with background(engine) as cloud:
        assert httpx.get(f"{cloud.rest_url}/readyz", timeout=120).status_code == 503
        assert httpx.get(f"{cloud.rest_url}/livez", timeout=120).status_code == 200
        check(httpx.post(f"{cloud.rest_url}/v1/predict", json={"text": "a"}, timeout=120), 503, "Unavailable")


def test_feedback_and_bundles_without_a_registry_are_503(http: httpx.Client) -> None:
    given = {"idempotency_key": "f", "request_id": "r", "label": "joy", "consent": False}
    check(http.post("/v1/feedback", json=given), 503, "Unavailable")
    check(http.get("/v1/bundles/latest"), 503, "Unavailable")


def test_unknown_paths_and_methods_are_told_in_the_same_words(http: httpx.Client) -> None:
    check(http.get("/v2/predict"), 404, "HttpError")
    reply = http.get("/v1/predict")
    check(reply, 405, "HttpError")
    assert reply.headers["allow"] == "POST"
    assert json.loads(reply.text)


def test_what_is_damaged_is_left_out_where_something_remains(http: httpx.Client) -> None:
    files = {"audio": ("a", b"RIFF" + bytes(100)), "video": ("v", picture())}
    body = http.post("/v1/predict", data={"text": "well"}, files=files).json()
    assert body["modalities"] == ["text", "video"]
    assert any("audio cannot be opened" in note for note in body["notes"])


def test_a_length_that_nobody_knows_is_no_length(http: httpx.Client) -> None:
    data = bytearray(tone(1.0, kind="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert http.post("/v1/predict", files={"audio": ("x", bytes(data))}).json()["modalities"] == ["audio"]
