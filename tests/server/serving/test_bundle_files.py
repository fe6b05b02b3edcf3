"""Files of the bundle that pages run: which bundle, which files, and what is said where there is none."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.edge.conftest import make_tiny_bundle
from tests.support.learning_bundle import learning_bundle
from tests.support.small_engine import SmallEngine

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.bundle.archive import pack
from fedaffect.server.registry import Registry, api_keys, bundles
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import background
from fedaffect.server.serving.gateway.bundle_files import BundleShelf

LATEST = "/v1/bundles/latest/files"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoders = make_tiny_bundle(tmp_path_factory.mktemp("encoders") / "tiny")
    return learning_bundle(encoders, tmp_path_factory.mktemp("whole") / "bundle")


@pytest.fixture
def cloud(folder: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    shelf = BundleShelf(folder, tmp_path / "packed")
    with background(SmallEngine(), shelf=shelf) as server, httpx.Client(base_url=server.rest_url) as client:
        yield client


def test_files_of_a_bundle_come_compressed_and_are_those_of_its_manifest(
    cloud: httpx.Client, folder: Path, tmp_path: Path
) -> None:
    manifest = cloud.get(f"{LATEST}/manifest.json")
    version = manifest.headers["x-bundle-version"]
    assert version == Bundle.load(folder).version
    assert version.endswith(hashlib.sha256(manifest.content).hexdigest()[:12])
    assert manifest.headers["cache-control"] == "no-cache"
    entry = manifest.json()["encoders"]["video"]["network"]
    file = cloud.get(f"/v1/bundles/{version}/files/{entry['file']}")
    assert file.headers["content-encoding"] == "gzip"
    assert "immutable" in file.headers["cache-control"]
    assert hashlib.sha256(file.content).hexdigest() == entry["sha256"]
    plain = cloud.get(f"/v1/bundles/{version}/files/{entry['file']}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == file.content
    known = cloud.get(f"{LATEST}/{entry['file']}", headers={"If-None-Match": file.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    (packed,) = (tmp_path / "packed").iterdir()
    assert gzip.decompress(packed.read_bytes()) == file.content


def test_what_training_needs_and_what_is_no_file_of_it_is_not_given(cloud: httpx.Client, folder: Path) -> None:
    assert (folder / "fusion.safetensors").exists()
    for name in ("fusion.safetensors", "manifest.sig", "nothing.onnx", "..%2f..%2fkeys"):
        assert cloud.get(f"{LATEST}/{name}").status_code == 404
    gone = cloud.get("/v1/bundles/edge-0-000000000000/files/video.onnx")
    assert gone.status_code == 404
    assert "load the page again" in gone.json()["error"]["message"]


def test_a_server_without_a_bundle_says_how_to_get_one() -> None:
    with background(SmallEngine()) as server:
        reply = httpx.get(f"{server.rest_url}{LATEST}/manifest.json")
    assert reply.status_code == 404
    assert "fedaffect bundle build" in reply.json()["error"]["message"]


def test_a_file_that_was_changed_on_the_server_is_not_sent(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with background(SmallEngine(), shelf=BundleShelf(copy, tmp_path / "packed")) as server:
        assert httpx.get(f"{server.rest_url}{LATEST}/manifest.json").status_code == 200
        (copy / "video.onnx").write_bytes(b"x" * (copy / "video.onnx").stat().st_size)
        reply = httpx.get(f"{server.rest_url}{LATEST}/video.onnx")
    assert reply.status_code == 503
    assert "damaged" in reply.json()["error"]["message"]


def test_what_is_offered_to_devices_comes_first_and_its_scope_is_asked_for(folder: Path, tmp_path: Path) -> None:
    tar = pack(folder, tmp_path / "offered.tar")
    data = tar.read_bytes()
    version = Bundle.load(folder).version
    with Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry:
        _, predicts = api_keys.create(registry, "page", ["predict"])
        _, fetches = api_keys.create(registry, "device", ["bundles"])
        with (
            background(SmallEngine(), registry=registry, access=Access(registry)) as server,
            httpx.Client(base_url=server.rest_url) as client,
        ):
            mine = {"Authorization": f"Bearer {fetches}"}
            assert client.get(f"{LATEST}/manifest.json", headers=mine).status_code == 404
            digest = hashlib.sha256(data).hexdigest()
            bundles.add(registry, version=version, path=tar, sha256=digest, size_bytes=len(data))
            bundles.offer(registry, version)
            assert client.get(f"{LATEST}/manifest.json").status_code == 401
            other = client.get(f"{LATEST}/manifest.json", headers={"Authorization": f"Bearer {predicts}"})
            assert other.status_code == 403
            assert "'bundles'" in other.json()["error"]["message"]
            manifest = client.get(f"{LATEST}/manifest.json", headers=mine)
            assert manifest.headers["x-bundle-version"] == version
            assert client.get(f"{LATEST}/fusion.onnx", headers=mine).content == (folder / "fusion.onnx").read_bytes()
