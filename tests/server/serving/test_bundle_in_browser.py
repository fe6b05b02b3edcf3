"""The bundle in a real browser: the device's answers, nothing sent, and what is said where it cannot run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.support.browser import CHROMIUM, PLAYWRIGHT, WEB, in_a_browser
from tests.support.browser_samples import answered, camera_of_face, microphone_of_voice, samples
from tests.support.built_edge import BuiltEdge
from tests.support.small_engine import SmallEngine

from fedaffect import EdgeRuntime
from fedaffect.server.serving.app import background
from fedaffect.server.serving.gateway.bundle_files import BundleShelf

pytestmark = pytest.mark.slow

PAGE = WEB.parent / "fedaffect" / "server" / "serving" / "http" / "page"
FILMS = WEB.parents[2] / "shared" / "data" / "ravdess_av" / "Actor_01"


@dataclass(frozen=True)
class _Served:
    """Where Playwright finds the server and the samples."""

    environment: dict[str, str]


@pytest.fixture(scope="module")
def served(built_edge: BuiltEdge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Served]:
    folder = tmp_path_factory.mktemp("browser")
    bundle = built_edge.folder / "cache" / "bundles" / "edge"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in built_edge.environment.items():
            patch.setenv(name, value)
        with EdgeRuntime.load(bundle) as runtime:
            films = FILMS if FILMS.is_dir() else None
            given = {name: answered(runtime, sample) for name, sample in samples(films).items()}
        (folder / "samples.json").write_text(json.dumps(given))
        shelf = BundleShelf(bundle, folder / "packed")
        with background(SmallEngine(), shelf=shelf) as server, background(SmallEngine()) as bare:
            yield _Served(
                {
                    **os.environ,
                    "PAGE_URL": server.rest_url,
                    "BARE_URL": bare.rest_url,
                    "WORKER": next((PAGE / "assets").glob("worker-*.js")).name,
                    "SAMPLES": str(folder / "samples.json"),
                    "CHROMIUM": str(CHROMIUM),
                    "CAMERA_FILE": str(camera_of_face(folder / "camera.y4m")),
                    "MICROPHONE_FILE": str(microphone_of_voice(folder / "microphone.wav")),
                    "OUT": os.environ.get("FEDAFFECT_SCREENSHOTS", str(folder / "screenshots")),
                }
            )


@in_a_browser
@pytest.mark.skipif(not (PAGE / "runtime").is_dir(), reason="the runtime for browsers is not here: make web")
def test_the_page_runs_the_bundle_as_the_device_does_and_sends_nothing(served: _Served) -> None:
    done = subprocess.run(
        [str(PLAYWRIGHT), "test", "inbrowser.spec.ts", *os.environ.get("PLAYWRIGHT_ARGUMENTS", "").split()],
        cwd=WEB,
        env=served.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
