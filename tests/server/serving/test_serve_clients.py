"""The device's own clients against the real faces: open, with keys, over TLS and mutual TLS."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tests.support.certificates import Authority
from tests.support.media_files import picture, tone
from tests.support.small_engine import WIDTHS, SmallEngine
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from fedaffect.edge.cloud import (
    CloudBusy,
    CloudClient,
    CloudRefused,
    CloudTimeout,
    CloudUnreachable,
    GrpcCloud,
    RestCloud,
    TlsSettings,
)
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto import affect_pb2_grpc as rpc
from fedaffect.edge.cloud.retry import Backoff
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import Sample
from fedaffect.server.registry import Registry, api_keys, bundles
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import CloudServer, Listen, ServerTls, background
from fedaffect.server.serving.gateway.limits import Limits

LIMITS = Limits(default_deadline_ms=600_000, longest_deadline_ms=600_000)
SLOW_MS = 60_000.0
ONCE = Backoff(attempts=1)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as opened:
        yield opened


@contextmanager
def client_of(
    transport: str, cloud: CloudServer, key: str | None = None, tls: TlsSettings | None = None
) -> Iterator[CloudClient]:
    if transport == "grpc":
        device: CloudClient = GrpcCloud(cloud.grpc_target, key, tls, backoff=ONCE)
    else:
        device = RestCloud(cloud.rest_url, key, tls, backoff=ONCE)
    try:
        yield device
    finally:
        device.close()


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_device_can_ask_tell_and_fetch(transport: str, registry: Registry, tmp_path: Path) -> None:
    data = np.random.default_rng(0).bytes(400_000)
    (tmp_path / "b.tar").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    bundles.add(registry, version="b-1", path=tmp_path / "b.tar", sha256=digest, size_bytes=len(data))
    bundles.offer(registry, "b-1")
    engine = SmallEngine()
    with background(engine, registry=registry, limits=LIMITS) as cloud, client_of(transport, cloud) as device:
        sample = Sample(id="s", text="well", audio=tone(), video=picture())
        answer = device.predict(sample, request_id="one", deadline_ms=SLOW_MS)
        assert (answer.source, answer.offload_reason) == ("cloud", "unsure")
        assert answer.modalities == ("text", "audio", "video")
        again = device.predict(sample, request_id="one", deadline_ms=SLOW_MS)
        assert again.probabilities == answer.probabilities
        assert engine.asked == 1
        rows = {"audio": np.ones((3, WIDTHS["audio"]), np.float16)}
        by_features = device.predict(
            None, request_id="two", features=rows, encoder_keys={"audio": "k"}, deadline_ms=SLOW_MS
        )
        assert by_features.modalities == ("audio",)
        told = {"idempotency_key": "f", "request_id": "one", "label": "joy", "consent": True, "deadline_ms": SLOW_MS}
        told |= {"features": rows, "encoder_keys": {"audio": "k"}}
        assert device.feedback(**told)
        assert not device.feedback(**told)
        fetched = device.fetch_bundle("", tmp_path / transport / "b.tar", deadline_ms=SLOW_MS)
        assert fetched.read_bytes() == data
        with pytest.raises(CloudRefused):
            device.predict(Sample(id="s", audio=bytes(100)), request_id="three", deadline_ms=SLOW_MS)
        with pytest.raises(CloudRefused):
            device.fetch_bundle("b-9", tmp_path / "none.tar", deadline_ms=SLOW_MS)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_device_learns_of_deadlines_and_stops(transport: str) -> None:
    engine = SmallEngine()
    engine.hold.clear()
    with ExitStack() as device_stays:
        with background(engine, limits=LIMITS, drain_s=0.1) as cloud:
            device = device_stays.enter_context(client_of(transport, cloud))
            with pytest.raises(CloudTimeout):
                device.predict(Sample(id="s", text="a"), request_id="one", deadline_ms=300)
        with pytest.raises((CloudUnreachable, CloudTimeout)):
            device.predict(Sample(id="s", text="a"), request_id="two", deadline_ms=2_000)


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_keys_open_only_what_they_may(transport: str, registry: Registry) -> None:
    _, good = api_keys.create(registry, "phone", ["predict"])
    _, other = api_keys.create(registry, "old phone", ["bundles"])
    _, eager = api_keys.create(registry, "eager phone", ["predict"], requests_per_minute=1)
    sample = Sample(id="s", text="a")
    with background(SmallEngine(), access=Access(registry), registry=registry, limits=LIMITS) as cloud:
        with client_of(transport, cloud, good) as device:
            assert device.predict(sample, request_id="one", deadline_ms=SLOW_MS)
        for key, status in ((None, 401), ("fa_0000", 401), (other, 403)):
            with client_of(transport, cloud, key) as device, pytest.raises(CloudRefused) as refused:
                device.predict(sample, request_id="two", deadline_ms=SLOW_MS)
            assert refused.value.status == status
        with client_of(transport, cloud, eager) as hasty:
            hasty.predict(sample, request_id="three", deadline_ms=SLOW_MS)
            with pytest.raises(CloudBusy) as busy:
                hasty.predict(sample, request_id="four", deadline_ms=SLOW_MS)
        assert busy.value.retry_after_s > 0
        assert httpx.get(f"{cloud.rest_url}/readyz", timeout=120).status_code == 200
        refusal = httpx.get(f"{cloud.rest_url}/v1/models", timeout=120)
        assert (refusal.status_code, refusal.headers["www-authenticate"]) == (401, "Bearer")
        with connect(f"ws{cloud.rest_url[4:]}/v1/stream", open_timeout=120) as socket:
            assert "Unauthenticated" in socket.recv(timeout=120)
        with grpc.insecure_channel(cloud.grpc_target) as channel, pytest.raises(grpc.RpcError) as failed:
            list(rpc.AffectStub(channel).PredictStream(iter([pb.StreamChunk()])))
        assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_browser_sends_its_key_for_a_stream_as_a_subprotocol(registry: Registry) -> None:
    _, good = api_keys.create(registry, "page", ["predict"])
    _, other = api_keys.create(registry, "updater", ["bundles"])
    with background(SmallEngine(), access=Access(registry), registry=registry, limits=LIMITS) as cloud:
        url = f"ws{cloud.rest_url[4:]}/v1/stream"

        def opened(key: str, **given: Any) -> ClientConnection:
            offered = [Subprotocol("fedaffect.v1"), Subprotocol(f"fedaffect.key.{key}")]
            return connect(url, subprotocols=offered, open_timeout=120, close_timeout=120, **given)

        with opened(good) as socket:
            # A browser hangs up unless one of those it offered is agreed on; the key must not be told back.
            assert socket.subprotocol == "fedaffect.v1"
            for message in ({}, {"text": "well"}, {"end": True}):
                socket.send(json.dumps(message))
            assert json.loads(socket.recv(timeout=120))["modalities"] == ["text"]
        for key, said in (("", "Unauthenticated"), ("fa_0000", "Unauthenticated"), (other, "Forbidden")):
            with opened(key) as socket:
                assert json.loads(socket.recv(timeout=120))["error"]["type"] == said
        with opened(good, additional_headers={"Authorization": f"Bearer {other}"}) as socket:
            assert json.loads(socket.recv(timeout=120))["error"]["type"] == "Forbidden"
        with connect(f"{url}?key={good}", open_timeout=120) as socket:
            assert "Unauthenticated" in str(socket.recv(timeout=120))


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_tls_and_mutual_tls(transport: str, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server, device, intruder = authority.issue("server"), authority.issue("device"), stranger.issue("intruder")
    sample = Sample(id="s", text="a")
    with background(SmallEngine(), tls=ServerTls(*server), limits=LIMITS) as cloud:
        assert cloud.rest_url.startswith("https://")
        with client_of(transport, cloud, tls=TlsSettings(authority.path)) as trusting:
            assert trusting.predict(sample, request_id="one", deadline_ms=SLOW_MS)
        with client_of(transport, cloud, tls=TlsSettings(stranger.path)) as wary, pytest.raises(CloudUnreachable):
            wary.predict(sample, request_id="two", deadline_ms=SLOW_MS)
    with background(SmallEngine(), tls=ServerTls(*server, authority.path), limits=LIMITS) as cloud:
        with client_of(transport, cloud, tls=TlsSettings(authority.path, *device)) as known:
            assert known.predict(sample, request_id="one", deadline_ms=SLOW_MS)
        for settings in (TlsSettings(authority.path), TlsSettings(authority.path, *intruder)):
            with client_of(transport, cloud, tls=settings) as unknown, pytest.raises(CloudUnreachable):
                unknown.predict(sample, request_id="two", deadline_ms=SLOW_MS)


def test_tls_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (one, _), (_, other) = authority.issue("one"), authority.issue("other")
    with pytest.raises(ConfigError, match="belongs to it"):
        ServerTls(one, other).context()
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        ServerTls(tmp_path / "missing.pem", other)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x.org", False)],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert Listen(host).on_loopback is loopback
