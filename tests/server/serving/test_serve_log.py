"""No words and no media in the log, whatever goes wrong; and inside errors tell nothing but a number."""

from __future__ import annotations

import io
import json
import logging
import warnings
from base64 import b64encode
from collections.abc import Iterator

import grpc
import httpx
import pytest
from tests.support.media_files import tone
from tests.support.small_engine import SmallEngine
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto import affect_pb2_grpc as rpc
from fedaffect.server.json_log import JsonLines
from fedaffect.server.serving.app import background
from fedaffect.server.serving.engines.engine import Answer, Request
from fedaffect.server.serving.gateway.limits import Limits

MARKER = "xyzzy-secret-words"


class Clumsy(SmallEngine):
    """Fails as libraries do: with what it was given in the message."""

    async def predict(self, request: Request) -> Answer:
        text = request.sample.text if request.sample else None
        if text and "fail" in text:
            raise ValueError(f"cannot process {text!r}")
        return await super().predict(request)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that any logger of the process says, at the lowest level."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    # The clients' own libraries run in this process too, and say what they send.
    handler.addFilter(lambda record: not record.name.startswith(("httpx", "httpcore", "websockets.client")))
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.slow
def test_nothing_that_was_sent_is_logged(log: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    with (
        warnings.catch_warnings(),
        background(Clumsy(), limits=Limits(default_deadline_ms=600_000, longest_deadline_ms=600_000)) as cloud,
    ):
        url = f"{cloud.rest_url}/v1/predict"
        packed = b64encode(MARKER.encode() * 10).decode()
        bodies = (
            {"text": MARKER},
            {"text": f"fail {MARKER}"},
            {"text": MARKER, "request_id": f"id with {MARKER}"},
            {"text": MARKER, "deadline_ms": 1},
            {"text": MARKER, "model_version": "none"},
            {"text": "a", MARKER: MARKER},
            {"text": [MARKER]},
            {"text": "a", "audio": packed},
            {"audio": MARKER},
        )
        replies = [httpx.post(url, json=body, timeout=120) for body in bodies]
        replies.append(httpx.post(url, content=f'{{"text": "{MARKER}', headers={"Content-Type": "application/json"}))
        replies.append(httpx.post(url, files={"audio": (MARKER, tone()[:40] + MARKER.encode())}, timeout=120))
        replies.append(httpx.post(url, content=MARKER, headers={"Content-Type": MARKER}, timeout=120))
        httpx.get(f"{cloud.rest_url}/v1/{MARKER}?text={MARKER}", timeout=120)
        with grpc.insecure_channel(cloud.grpc_target) as channel:
            affect = rpc.AffectStub(channel)
            for asked in (pb.PredictRequest(text=MARKER), pb.PredictRequest(text=f"fail {MARKER}")):
                try:
                    affect.Predict(asked)
                except grpc.RpcError as error:
                    replies.append(error)
            with pytest.raises(grpc.RpcError):
                channel.unary_unary("/fedaffect.v1.Affect/Predict")(MARKER.encode())
        offered = [Subprotocol("fedaffect.v1"), Subprotocol(f"fedaffect.key.{MARKER}")]
        url = f"ws{cloud.rest_url[4:]}/v1/stream?text={MARKER}"
        with connect(url, subprotocols=offered, open_timeout=120) as socket:
            socket.send("{}")
            socket.send(json.dumps({"text": f"fail {MARKER}"}))
            socket.send(json.dumps({"end": True}))
            told = json.loads(socket.recv(timeout=120))
    captured = capfd.readouterr()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert MARKER not in log.getvalue()
    assert MARKER not in captured.out + captured.err
    failed = [line for line in lines if line["event"] == "failed"]
    assert {line["type"] for line in failed} == {"ValueError"}
    assert {line["transport"] for line in failed} == {"rest", "grpc"}
    assert all("small_engine.py" in at or ":" in at for line in failed for at in line["at"])
    internal = [r for r in replies if isinstance(r, httpx.Response) and r.status_code == 500]
    assert len(internal) == 1
    assert internal[0].json()["error"]["message"].rpartition(" ")[2] in {line["error"] for line in failed}
    assert "ValueError" not in internal[0].text
    assert told["error"]["type"] == "ServingError"


def test_each_request_has_one_line(log: io.StringIO) -> None:
    with background(SmallEngine()) as cloud:
        httpx.post(f"{cloud.rest_url}/v1/predict", json={"request_id": "one", "text": "a"}, timeout=120)
        httpx.post(f"{cloud.rest_url}/v1/predict", json={"request_id": "two"}, timeout=120)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    first, second = (line for line in lines if line["event"] == "answered")
    assert (first["request_id"], first["outcome"], first["modalities"]) == ("one", "OK", "text")
    assert first["latency_ms"] >= first["compute_ms"] > 0
    assert (second["request_id"], second["outcome"]) == ("two", "InvalidRequest")
