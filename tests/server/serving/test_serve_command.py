"""`fedaffect server serve` as a process of its own: started, asked, told to reload, drained by SIGTERM."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from base64 import b64encode
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from safetensors.torch import save_file
from sqlalchemy import text
from tests.support.server_process import serving

from fedaffect.client.models.registry import build_model
from fedaffect.edge.cli.main import fedaffect
from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.cloud.proto import affect_pb2_grpc as rpc
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.labels import label_set
from fedaffect.server import checks
from fedaffect.server.fleet.setup.authority import Authority
from fedaffect.server.models.full_model.card import FUSION, ModelCard
from fedaffect.server.registry import Registry, api_keys

WIDTH = 12
OPTIONS = {"width": 16, "heads": 2, "feedforward": 32}


def model_folder(folder: Path, version: str) -> Path:
    """A model over features of voices, small and untrained."""
    labels = label_set("shared4").labels
    card = ModelCard(
        version=version,
        profile="edge-features",
        label_set="shared4",
        labels=labels,
        options=OPTIONS,
        widths={"audio": WIDTH},
    )
    card.write(folder)
    save_file(build_model("cmt", card.widths, len(labels), OPTIONS).state_dict(), folder / FUSION)
    return folder


def features() -> dict[str, Any]:
    values = b64encode(np.ones((2, WIDTH), "<f2").tobytes()).decode()
    return {"features": {"audio": {"encoder_key": "k", "rows": 2, "width": WIDTH, "values": values}}}


@contextmanager
def half_sent(rest_url: str) -> Iterator[Callable[[], bytes]]:
    """A request that the server has begun to read; what is yielded sends the rest and reads the answer."""
    body = json.dumps(features()).encode()
    host, _, port = rest_url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=600) as connection:
        head = "POST /v1/predict/features HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])
        # Whoever is answered now came later than the head above.
        assert httpx.get(f"{rest_url}/readyz", timeout=600).status_code == 200

        def finish() -> bytes:
            connection.sendall(body[10:])
            return connection.recv(65536)

        yield finish


@pytest.mark.slow
def test_it_answers_reloads_and_ends_with_what_is_under_way(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "one")
    with serving(tmp_path, folder, "--host", "0.0.0.0") as running:
        refused = next(e for e in running.events if e["level"] == "warning")
        assert "no API key" in refused["event"]
        assert running.rest_url.startswith("http://127.0.0.1:")
        url = f"{running.rest_url}/v1/predict/features"
        assert httpx.post(url, json=features(), timeout=600).json()["model_version"] == "one"
        assert "fedaffect_queue_depth 0" in httpx.get(f"{running.rest_url}/metrics", timeout=600).text

        model_folder(folder, "two")
        running.process.send_signal(signal.SIGHUP)
        assert running.wait_for("reloaded")["models"] == ["two"]
        assert httpx.post(url, json=features(), timeout=600).json()["model_version"] == "two"

        with half_sent(running.rest_url) as finish:
            running.process.send_signal(signal.SIGTERM)
            running.wait_for("stopping")
            assert httpx.get(f"{running.rest_url}/readyz", timeout=600).status_code == 503
            assert finish().startswith(b"HTTP/1.1 200")
        assert running.wait_for("stopped")["finished"] is True
        assert running.process.wait(timeout=600) == 0


@pytest.mark.ray
def test_on_ray_it_answers_and_ends_with_what_is_under_way_too(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "one")
    settings = tmp_path / "ray.json"
    settings.write_text(json.dumps({"cores": 1, "store_bytes": 128 << 20, "start_s": 1200}))
    with serving(tmp_path, folder, "--engine", "ray", "--ray-settings", str(settings)) as running:
        url = f"{running.rest_url}/v1/predict/features"
        assert httpx.post(url, json=features(), timeout=600).json()["model_version"] == "one"
        target = next(event["grpc"] for event in running.events if event["event"] == "serving")
        tokens = pb.FeatureSequence(encoder_key="k", rows=2, width=WIDTH, values=np.ones((2, WIDTH), "<f2").tobytes())
        with grpc.insecure_channel(target) as channel:
            asked = pb.PredictRequest(features={"audio": tokens})
            assert rpc.AffectStub(channel).Predict(asked, timeout=600).model_version == "one"
        with half_sent(running.rest_url) as finish:
            running.process.send_signal(signal.SIGTERM)
            running.wait_for("stopping")
            # Longer than Ray would have let it live after the signal.
            time.sleep(4)
            assert finish().startswith(b"HTTP/1.1 200")
        assert running.wait_for("stopped")["finished"] is True
        assert running.process.wait(timeout=600) == 0


def sample_of(metrics: str, name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, f"{name} {labels}"
    return float(found[0])


@pytest.mark.slow
def test_metrics_tell_of_each_version_and_a_key_that_is_made_later_is_asked_for_after_a_reload(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "one")
    asked = 24
    with serving(tmp_path, folder) as running, httpx.Client(timeout=600) as http, ThreadPoolExecutor(asked) as pool:
        url = f"{running.rest_url}/v1/predict/features"
        # Every client has the queue's places until a first batch was timed.
        statuses = [http.post(url, json=features()).status_code]
        statuses += [reply.status_code for reply in pool.map(lambda _: http.post(url, json=features()), range(asked))]
        answered = statuses.count(200)
        assert set(statuses) <= {200, 429}
        metrics = http.get(f"{running.rest_url}/metrics").text
        assert sample_of(metrics, "fedaffect_batch_size_sum", model_version="one") == answered
        batches = sample_of(metrics, "fedaffect_batch_size_count", model_version="one")
        assert 1 <= batches <= answered
        assert sample_of(metrics, "fedaffect_batch_size_bucket", model_version="one", le="+Inf") == batches
        for name in ("queue", "compute"):
            assert sample_of(metrics, f"fedaffect_{name}_seconds_count", model_version="one") == answered

        model_folder(folder, "two")
        running.process.send_signal(signal.SIGHUP)
        running.wait_for("reloaded")
        assert http.post(url, json=features()).status_code == 200
        metrics = http.get(f"{running.rest_url}/metrics").text
        assert sample_of(metrics, "fedaffect_batch_size_sum", model_version="two") == 1
        assert sample_of(metrics, "fedaffect_batch_size_sum", model_version="one") == answered

        with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
            _, key = api_keys.create(registry, "phone", ["predict"])
        running.wait_for("a key was made, so all must send one from now on")
        models = f"{running.rest_url}/v1/models"
        assert httpx.get(models, timeout=600).status_code == 401
        assert httpx.get(models, headers={"Authorization": f"Bearer {key}"}, timeout=600).status_code == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls-cert", "a.pem"], "--tls-key"),
        (["--client-ca", "a.pem"], "--tls-cert"),
        (["--tls-cert", "a.pem", "--tls-key", "b.pem"], "a.pem does not exist"),
        (["--random-init"], "--model"),
        (["--ray-settings", "r.json"], "--engine ray"),
        (["--engine", "ray", "--transcribe"], "--engine local"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options: list[str], said: str) -> None:
    result = CliRunner().invoke(fedaffect, ["server", "serve", *options])
    assert isinstance(result.exception, ConfigError)
    assert said in str(result.exception)


def test_a_taken_port_is_named_before_anything_is_listened_at(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option, says in (("--rest-port", "REST"), ("--grpc-port", "gRPC")):
            said = _refused(tmp_path, "--rest-port", "0", "--grpc-port", "0", option, str(port))
            assert f"port {port}: cannot be listened at" in said
            assert f"give {option} another" in said, says


def test_a_gpu_that_is_not_there_and_a_certificate_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    said = _refused(tmp_path, "--device", "cuda:0")
    assert "GPU: 0 are seen here, and cuda:0 is wanted" in said
    assert "leave --device away" in said
    authority = Authority.create(tmp_path / "authority", "test")
    for part, pem in zip(("cert", "key"), authority.issue(("localhost",), days=-1), strict=True):
        (tmp_path / f"{part}.pem").write_bytes(pem)
    said = _refused(tmp_path, "--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    assert "TLS certificate: ended" in said
    assert not (tmp_path / "server.db").exists()


def test_clocks_that_are_apart_and_a_disk_that_is_nearly_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = ("--rest-port", "0", "--grpc-port", "0")
    with monkeypatch.context() as patch:
        patch.setattr(checks, "database_now", lambda _session: datetime.now(UTC) + timedelta(hours=1))
        assert "set both: timedatectl set-ntp true" in _refused(tmp_path, *ports)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 10**12, 10**7))
    assert "10 MB are left, and 256 are wanted" in _refused(tmp_path, *ports)


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry, registry.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    assert "made by another version of fedaffect" in _refused(tmp_path)


def _refused(folder: Path, *options: str) -> str:
    database = f"sqlite:///{folder / 'server.db'}"
    result = CliRunner().invoke(fedaffect, ["server", "serve", "--database", database, *options])
    assert isinstance(result.exception, ConfigError), result.output
    return str(result.exception)
