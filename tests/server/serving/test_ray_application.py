"""The application that the chart's RayService imports: built from its config, run by Ray Serve, asked by REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
import yaml
from ray import serve
from ray.serve.schema import ServeDeploySchema
from tests.support.chart import CHART, ci_values, merged, one, render
from tests.support.small_fleet import free_port
from tests.support.tiny_cloud import cloud_folder, png, wav
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.edge.sample import Sample
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.ray_session import quiet_ray
from fedaffect.server.registry import Registry, api_keys
from fedaffect.server.serving.engines.engine import Answer, Request
from fedaffect.server.serving.engines.local_engine import LocalEngine
from fedaffect.server.serving.ray_application import application

pytestmark = [
    # Ray leaves sockets and files to the interpreter's end.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*unclosed.*"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

# Two cores hold all of it, whatever the machine has.
_SMALL = {"cpus": 0.1, "max_replicas": 1}
_PARTS = ("text", "audio", "video", "fusion", "gateway")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cloud_folder(tmp_path_factory.mktemp("cloud"))


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A key of the registry that replicas will open."""
    patch = pytest.MonkeyPatch()
    url = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'registry.db'}"
    patch.setenv("FEDAFFECT_REGISTRY", url)
    with Registry.open(url) as registry:
        _, text = api_keys.create(registry, "phone", ["predict"])
    yield text
    patch.undo()


@pytest.fixture(scope="module")
def served(folder: Path, key: str) -> Iterator[str]:
    """Address of the application, as a RayService would have it."""
    with quiet_ray():
        ray.init(
            address="local", num_cpus=2, object_store_memory=128 << 20, include_dashboard=False, log_to_driver=False
        )
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"log_level": "ERROR"})
    try:
        args = {"model": str(folder), "deployments": dict.fromkeys(_PARTS, _SMALL), "drain_s": 1}
        serve.run(application(args), name="fedaffect", route_prefix="/")
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()


def _config(values: dict[str, Any]) -> Any:
    """The application of a rendered RayService, as Ray Serve reads it."""
    text = one(render(values), "RayService").spec["serveConfigV2"]
    (config,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
    return config


@pytest.mark.parametrize("name", ["ray", "defaults"])
def test_the_chart_imports_what_is_there_and_each_deployment_has_what_was_asked_for(name: str, folder: Path) -> None:
    values = {"registry": {"secretName": "x"}, "inference": {"kind": "rayservice"}}
    values = ci_values()["ray"] if name == "ray" else values
    config = _config(values)
    module, _, function = config.import_path.partition(":")
    assert getattr(import_module(module), function) is application
    asked = merged(yaml.safe_load((CHART / "values.yaml").read_text()), values)["ray"]["deployments"]
    gateway = application({**config.args, "model": str(folder), "device": "cpu"})._bound_deployment
    found = [gateway, *(app._bound_deployment for app in gateway.init_kwargs.values())]
    assert {each.name for each in found} == asked.keys() == set(_PARTS)
    for each in found:
        wanted, options = asked[each.name], each.ray_actor_options or {}
        assert (options["num_cpus"], options["num_gpus"]) == (wanted["cpus"], wanted["gpus"])
        assert each.max_ongoing_requests == wanted["maxOngoing"]
        scaling = each._deployment_config.autoscaling_config
        assert (scaling.min_replicas, scaling.max_replicas) == (wanted["minReplicas"], wanted["maxReplicas"])
        assert scaling.target_ongoing_requests == wanted["targetOngoing"]


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(BundleError, match="/models/mine"):
        application(_config(ci_values()["ray"]).args)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"modle": "x"}, "did you mean 'model'"),
        ({"deployments": {"sound": {}}}, "unknown deployment 'sound'"),
        ({"deployments": {"audio": {"gpu": 1}}}, "did you mean 'gpus'"),
        ({"deployments": {"audio": {"gpus": 1.5}}}, "whole GPUs"),
    ],
)
def test_args_of_no_use_are_refused(args: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        application(args)


def test_it_answers_as_the_engine_in_one_process(served: str, folder: Path, key: str) -> None:
    sample = Sample(id="1", text="i am so happy !", audio=wav(1.0, 3), video=png(4))
    answer = asyncio.run(_here(folder, sample))
    files = {"audio": sample.audio, "video": sample.video}
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=served, headers=headers, timeout=120) as client:
        reply = client.post("/v1/predict", data={"text": sample.text}, files=files)
        assert reply.status_code == 200, reply.text
        assert reply.json()["label"] == answer.label
        assert reply.json()["probabilities"] == pytest.approx(answer.probabilities, abs=1e-4)
        assert client.get("/v1/models").json()["models"][0]["version"] == "v1"
        assert client.get("/readyz").json() == {"status": "ready"}
        assert "text/html" in client.get("/").headers["content-type"]


async def _here(folder: Path, sample: Sample) -> Answer:
    engine = LocalEngine(FullModel.load(folder, Compute()))
    try:
        return await engine.predict(Request(id="1", sample=sample))
    finally:
        await engine.close(0.0)


def test_nobody_is_let_in_without_a_key_wherever_they_say_they_are(served: str) -> None:
    for host in ("127.0.0.1", "affect.example"):
        reply = httpx.post(f"{served}/v1/predict", data={"text": "i am sad ."}, headers={"Host": host}, timeout=60)
        assert reply.status_code == 401
        assert "no key was sent" in reply.text


def test_a_stream_is_answered_through_rays_proxy(served: str, key: str) -> None:
    protocols = [f"fedaffect.key.{key}", "fedaffect.v1"]
    address = served.replace("http", "ws") + "/v1/stream"
    with connect(address, subprotocols=[Subprotocol(each) for each in protocols], open_timeout=60) as socket:
        socket.send(json.dumps({"sample_rate_hz": 16000, "window_s": 1, "hop_s": 1}))
        socket.send(json.dumps({"text": "you are sad ."}))
        socket.send(json.dumps({"end": True}))
        first = json.loads(socket.recv(timeout=60))
        assert first["label"], first
