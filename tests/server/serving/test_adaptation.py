"""Adaptations over real sockets: by REST, gRPC and WebSocket, where they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator

import grpc
import httpx
import pytest
from tests.server.serving.test_rest_stream import SETTINGS, by_grpc, by_websocket, opened, pcm, told
from tests.support.small_engine import SmallEngine

from fedaffect.edge.adaptation import Adaptation, Adapter, Policy
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto import affect_pb2_grpc as rpc
from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.gateway.limits import Limits


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudServer]:
    limits = Limits(default_deadline_ms=600_000, longest_deadline_ms=600_000)
    with background(SmallEngine(), limits=limits) as server:
        yield server


@pytest.fixture(scope="module")
def http(cloud: CloudServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=cloud.rest_url, timeout=120) as client:
        yield client


def test_rest_says_it_where_it_is_asked_for(http: httpx.Client) -> None:
    body = http.post("/v1/predict", json={"text": "what a day", "adapt": "de"}).json()
    assert Adaptation(**body["adaptation"] | {"cues": tuple(body["adaptation"]["cues"])}) == Adapter(
        language="de"
    ).follow(body["probabilities"])
    assert "adaptation" not in http.post("/v1/predict", json={"text": "what a day"}).json()
    by_form = http.post("/v1/predict", files={"text": (None, "what a day"), "adapt": (None, "de")})
    assert by_form.json()["adaptation"] == body["adaptation"]


def test_an_unknown_language_names_those_that_are_known(http: httpx.Client) -> None:
    refused = http.post("/v1/predict", json={"text": "what a day", "adapt": "tlh"})
    assert refused.status_code == 422
    assert "known: de, en" in refused.json()["error"]["message"]


def test_the_policy_gives_colours_and_speeds(http: httpx.Client) -> None:
    shown, policy = http.get("/v1/adaptation").json(), Policy.read()
    assert shown["version"] == policy.version
    assert shown["themes"]["quiet"]["dark"]["accent"] == policy.themes["quiet"]["dark"]["accent"]
    assert shown["paces"] == policy.paces
    assert "pl" in shown["languages"]


def test_grpc_says_it_too(cloud: CloudServer) -> None:
    with grpc.insecure_channel(cloud.grpc_target) as channel:
        stub = rpc.AffectStub(channel)
        said = stub.Predict(pb.PredictRequest(text="what a day", adapt="fr"), timeout=120)
        assert not stub.Predict(pb.PredictRequest(text="what a day"), timeout=120).HasField("adaptation")
    expected = Adapter(language="fr").follow(dict(said.probabilities))
    assert (said.adaptation.response, said.adaptation.manner) == (expected.response, expected.manner)
    assert list(said.adaptation.cues) == list(expected.cues)


def test_a_stream_adapts_after_all_its_windows(cloud: CloudServer) -> None:
    chunks = [pb.StreamChunk(settings=pb.StreamSettings(**SETTINGS, adapt="en"), pcm=pcm(2.2))]
    replies = by_grpc(cloud, chunks)
    follow = Adapter()
    for reply in replies:
        expected = follow.follow(dict(reply.probabilities), time_s=reply.window_end_s)
        assert (reply.adaptation.state, reply.adaptation.cues[:]) == (expected.state, list(expected.cues))
    over_ws = by_websocket(cloud, [b"\x00" + pcm(2.2)], adapt="en")
    assert [r["adaptation"]["state"] for r in over_ws] == [r.adaptation.state for r in replies]
    assert all("adaptation" not in r for r in by_websocket(cloud, [b"\x00" + pcm(2.2)]))
    with opened(cloud) as socket:
        socket.send(json.dumps({"adapt": "tlh"}))
        assert "'tlh'" in told(socket)["error"]["message"]
