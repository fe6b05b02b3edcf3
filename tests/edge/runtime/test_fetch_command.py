"""A bundle from a real cloud, over real sockets, into the store of the device."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from json import loads
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.edge.runtime.test_cascade import Counting
from tests.support.certificates import Authority

from fedaffect.edge.bundle import SIGNATURE, Bundle, BundleStore, SigningKey, sign
from fedaffect.edge.bundle.archive import pack
from fedaffect.edge.bundle.manifest import Manifest
from fedaffect.edge.cli.edge import edge
from fedaffect.edge.cloud import CloudRefused, CloudUnreachable
from fedaffect.edge.cloud.download import Download
from fedaffect.edge.errors import BundleError, ConfigError
from fedaffect.server.registry import Registry, bundles
from fedaffect.server.serving.app import ServerTls, background


def offer(registry: Registry, folder: Path, tar: Path, version: str) -> bytes:
    content = pack(folder, tar).read_bytes()
    bundles.add(registry, version=version, path=tar, sha256=sha256(content).hexdigest(), size_bytes=len(content))
    bundles.offer(registry, version)
    return content


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(f"sqlite:///{tmp_path}/registry.sqlite3") as opened:
        yield opened


@pytest.fixture
def signed(make_bundle) -> Path:
    folder = make_bundle(41)
    sign(folder, SigningKey.own())
    return folder


def run(*arguments: str) -> str:
    done = CliRunner().invoke(edge, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("face", ["rest", "grpc"])
def test_what_is_fetched_answers(face: str, signed: Path, registry: Registry, tmp_path: Path) -> None:
    version = Bundle.load(signed).version
    content = offer(registry, signed, tmp_path / "b.tar", version)
    authority = Authority(tmp_path)
    tls = ServerTls(*authority.issue("server"))
    store = BundleStore.default()
    begun = Download(store.folder / "fetched.tar", version)
    begun.begins(sha256(content).hexdigest(), len(content))
    begun.append(content[:100_000])
    with background(Counting(), registry=registry, tls=tls) as server:
        address = server.rest_url if face == "rest" else f"grpcs://{server.grpc_target}"
        said = run("fetch", version, "--cloud", address, "--authority", str(authority.path))
        assert said.startswith(f"{version} is in use now")
        # Without a version, the newest.
        assert run("fetch", "--cloud", address, "--authority", str(authority.path)) == said
        with pytest.raises(CloudRefused, match="b99"):
            CliRunner().invoke(
                edge,
                ["fetch", "b99", "--cloud", address, "--authority", str(authority.path)],
                catch_exceptions=False,
            )
    assert store.versions() == [version]
    assert sorted(path.name for path in store.folder.iterdir()) == [".fetching", ".lock", "current.json", "versions"]
    assert loads(run("predict", "--text", "sad", "--json"))["model_version"] == version


def test_an_older_bundle_is_fetched_only_on_purpose(make_bundle, registry: Registry, tmp_path: Path) -> None:
    folders = []
    for day in (1, 2):
        folder = make_bundle(41 + day)
        manifest = replace(Manifest.read(folder), created=f"2026-01-0{day}T00:00:00+00:00")
        manifest.write(folder)
        sign(folder, SigningKey.own())
        folders.append(folder)
    old, new = (Bundle.load(folder).version for folder in folders)
    for folder, version in zip(folders, (old, new), strict=True):
        offer(registry, folder, tmp_path / f"{version}.tar", version)
    with background(Counting(), registry=registry) as server:
        run("fetch", new, "--cloud", server.rest_url)
        with pytest.raises(BundleError, match="--allow-older"):
            CliRunner().invoke(edge, ["fetch", old, "--cloud", server.rest_url], catch_exceptions=False)
        assert BundleStore.default().versions() == [new]
        run("fetch", old, "--cloud", server.rest_url, "--allow-older")
    assert BundleStore.default().versions() == [old, new]


def test_two_fetches_at_once_do_not_write_into_one_file(tmp_path: Path) -> None:
    with BundleStore.default().fetching(), pytest.raises(BundleError, match=r"fetched into .* already"):
        run("fetch", "--cloud", "grpc://127.0.0.1:9")
    with BundleStore.default().fetching() as tar:
        assert tar.parent == BundleStore.default().folder


def test_a_bundle_that_nobody_trusted_signed_is_not_installed(make_bundle, registry: Registry, tmp_path: Path) -> None:
    folder = make_bundle(42)
    (folder / SIGNATURE).unlink()
    offer(registry, folder, tmp_path / "b.tar", "b1")
    with background(Counting(), registry=registry) as server:
        with pytest.raises(BundleError, match="sign"):
            CliRunner().invoke(edge, ["fetch", "b1", "--cloud", server.rest_url], catch_exceptions=False)
        assert BundleStore.default().versions() == []
        assert "is in use now" in run("fetch", "b1", "--cloud", server.rest_url, "--allow-unsigned")


def test_nothing_to_fetch_from() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for address, error in ((f"http://127.0.0.1:{port}", CloudUnreachable), ("cloud:1", ConfigError)):
        with pytest.raises(error):
            CliRunner().invoke(edge, ["fetch", "--cloud", address], catch_exceptions=False)


def test_progress_counts_up_to_all_of_it(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download = Download(tmp_path / "b.tar", "b1", lambda there, total: seen.append((there, total)))
    download.begins(sha256(b"abcdef").hexdigest(), 6)
    download.append(b"abcd")
    download.append(b"ef")
    assert seen == [(4, 6), (6, 6)]
