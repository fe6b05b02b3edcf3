"""The page in a real browser, with a camera and a microphone that play files: what ``server/web/tests`` looks at."""

from __future__ import annotations

import os
import shutil
import subprocess
import wave
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tests.support.small_engine import SmallEngine

from fedaffect.server.registry import Registry, api_keys, feedback
from fedaffect.server.serving.app import background
from fedaffect.server.serving.gateway.access import Access

pytestmark = pytest.mark.slow

WEB = Path(__file__).resolve().parents[3] / "server" / "web"
NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium")
PLAYWRIGHT = WEB / "node_modules" / ".bin" / "playwright"


def camera_file(path: Path) -> Path:
    """Constructed: two seconds of moving grey stripes."""
    width, height = 320, 240
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n" % (width, height))
        for at in range(20):
            stripes = np.broadcast_to((np.arange(width) * 4 + at * 12) % 256, (height, width)).astype(np.uint8)
            file.write(b"FRAME\n" + stripes.tobytes() + bytes([128]) * (width * height // 2))
    return path


def microphone_file(path: Path) -> Path:
    """Constructed: two seconds of noise that swells."""
    sound = np.random.default_rng(0).normal(size=32_000) * np.linspace(500, 6_000, 32_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(sound.astype("<i2").tobytes())
    return path


@pytest.mark.skipif(NODE is None, reason="node is not here")
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here: apt-get install chromium")
@pytest.mark.skipif(not PLAYWRIGHT.exists(), reason="playwright is not here: npm ci in server/web")
def test_what_a_person_sees_and_does(tmp_path: Path) -> None:
    with (
        Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry,
        background(SmallEngine(), registry=registry) as server,
    ):
        _, key = api_keys.create(registry, "page", ["predict", "feedback"])
        with background(SmallEngine(), registry=registry, access=Access(registry)) as keyed:
            environment = {
                **os.environ,
                "PAGE_URL": server.rest_url,
                "KEYED_URL": keyed.rest_url,
                "KEY": key,
                "CHROMIUM": str(CHROMIUM),
                "CAMERA_FILE": str(camera_file(tmp_path / "camera.y4m")),
                "MICROPHONE_FILE": str(microphone_file(tmp_path / "microphone.wav")),
                "OUT": os.environ.get("FEDAFFECT_SCREENSHOTS", str(tmp_path / "screenshots")),
            }
            done = subprocess.run(
                [str(PLAYWRIGHT), "test"], cwd=WEB, env=environment, capture_output=True, text=True, check=False
            )
        assert done.returncode == 0, done.stdout + done.stderr
        (given,) = feedback.newest(registry, since=datetime(2020, 1, 1, tzinfo=UTC), most=10)
        assert (given.label, given.consent, given.model_version) == ("sadness", True, "small-1")
        assert given.features is None
