"""The page under ``/``: how its files are served, and that the build and the client are those of the sources."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.small_engine import SmallEngine

from fedaffect.server.console.mounting import console_beside
from fedaffect.server.registry import Registry
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import background
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.http.app import rest_over

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "server" / "web"
BUILT = ROOT / "server" / "fedaffect" / "server" / "serving" / "http" / "page"
SOURCES = ("docs.html", "index.html", "package-lock.json", "package.json", "src", "tsconfig.json", "vite.config.ts")
FIRST_LOAD_BYTES = 300_000


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server that asks for keys; the page needs none."""
    with (
        Registry.open(f"sqlite:///{tmp_path_factory.mktemp('page') / 'server.db'}") as registry,
        background(SmallEngine(), registry=registry, access=Access(registry)) as server,
        httpx.Client(base_url=server.rest_url) as client,
    ):
        yield client


def test_the_page_takes_nothing_from_elsewhere_and_nothing_inline(cloud: httpx.Client) -> None:
    page = cloud.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    # WebAssembly alone may be compiled: it runs the bundle in the browser.
    assert not re.search(r"unsafe|https?:|\*", policy.replace("script-src 'self' 'wasm-unsafe-eval';", ""))
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<style|<script(?![^>]*\ssrc=)|\son\w+=|//", page.text)


def test_what_is_loaded_first_is_small_and_is_kept(cloud: httpx.Client) -> None:
    page = cloud.get("/")
    names = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert {name.rpartition(".")[2] for name in names} == {"js", "css", "svg"}
    loaded = int(page.headers["content-length"])
    for name in names:
        reply = cloud.get(name)
        assert reply.status_code == 200
        assert reply.headers["content-encoding"] == "gzip"
        assert "immutable" in reply.headers["cache-control"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        loaded += int(reply.headers["content-length"])
    assert loaded <= FIRST_LOAD_BYTES


def test_the_page_is_asked_for_again_and_not_sent_twice(cloud: httpx.Client) -> None:
    page = cloud.get("/")
    assert page.headers["cache-control"] == "no-cache"
    again = cloud.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = cloud.get("/", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == page.text
    assert cloud.head("/").status_code == 200


def test_only_what_was_built_is_served(cloud: httpx.Client) -> None:
    for path in ("/sources.sha256", "/assets/", "/assets/../app.py", "/%2e%2e/app.py", "/assets/none.js"):
        assert cloud.get(path).status_code == 404


def test_the_build_is_that_of_the_sources() -> None:
    paths = [path for name in SOURCES for path in (WEB / name, *(WEB / name).rglob("*")) if path.is_file()]
    named = sorted((path.relative_to(WEB).as_posix(), path) for path in paths)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in named]
    now = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert (BUILT / "sources.sha256").read_text().strip() == now, (
        "server/web changed: run make web and commit the build"
    )


def test_the_pages_client_is_made_of_this_api(tmp_path: Path) -> None:
    gateway = Gateway(SmallEngine())
    with (
        Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry,
        console_beside(tmp_path)(gateway, registry) as beside,
    ):
        described = json.dumps(rest_over(gateway, mounted=beside).openapi(), sort_keys=True)
    made_of = re.search(r"SHA-256 ([0-9a-f]{64})", (WEB / "src" / "api" / "schema.d.ts").read_text())
    assert made_of is not None
    now = hashlib.sha256(described.encode()).hexdigest()
    assert made_of[1] == now, "the API's description changed: run npm run api in server/web, then make web"
