"""The page in a real browser, with a camera and a microphone that play files: what ``server/web/tests`` looks at."""

from __future__ import annotations

import asyncio
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.support.browser import in_a_browser, require_passes
from tests.support.small_engine import SmallEngine
from tests.support.small_full_model import small_media_model

from fedaffect.edge.runtime.probes import drawn_face, spoken
from fedaffect.server.models.alignment.consented import gather
from fedaffect.server.models.full_model.card import ModelCard
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.registry import Registry, api_keys, feedback
from fedaffect.server.registry.access import Access
from fedaffect.server.serving.app import background
from fedaffect.server.serving.engines.engine import Engine
from fedaffect.server.serving.engines.local_engine import LocalEngine

pytestmark = pytest.mark.slow


WIDGET = """<!doctype html><html lang="en"><title>An app</title><main><h1>An app</h1>
<fedaffect-live server="{url}"></fedaffect-live><script type="module" src="{url}/widget.js"></script></main></html>"""


def camera_file(path: Path) -> Path:
    """Constructed: two seconds of a drawn face that goes to and fro."""
    height, width = 480, 640
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n" % (width, height))
        for at in range(20):
            left = 200 + round(60 * np.sin(2 * np.pi * at / 20))
            planes = np.asarray(Image.fromarray(drawn_face(at=(120, left))).convert("YCbCr"))
            file.write(b"FRAME\n" + planes[:, :, 0].tobytes())
            file.write(planes[::2, ::2, 1].tobytes() + planes[::2, ::2, 2].tobytes())
    return path


def microphone_file(path: Path) -> Path:
    """Constructed: three seconds of what the voice detector takes for a voice."""
    sound = np.clip(spoken().samples, -1, 1) * 32767
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(sound.astype("<i2").tobytes())
    return path


@contextmanager
def app_elsewhere() -> Iterator[tuple[str, dict[str, str]]]:
    """A page of another origin, and what it says: its HTML at ``/``, to be filled in."""
    said: dict[str, str] = {}

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(said["/"].encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", said
    finally:
        server.shutdown()
        server.server_close()


async def opened(folder: Path) -> Engine:
    return LocalEngine(await asyncio.to_thread(FullModel.load, folder))


@in_a_browser
def test_what_a_person_sees_and_does(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    folder = small_media_model(tmp_path)
    with (
        Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry,
        app_elsewhere() as (app, app_says),
        app_elsewhere() as (stranger, stranger_says),
        background(lambda: opened(folder), registry=registry, origins=(app,)) as server,
    ):
        stranger_says["/"] = app_says["/"] = WIDGET.format(url=server.rest_url)
        _, key = api_keys.create(registry, "page", ["predict", "feedback"])
        with background(SmallEngine(), registry=registry, access=Access(registry)) as keyed:
            require_passes(
                "live.spec.ts",
                tmp_path,
                PAGE_URL=server.rest_url,
                APP_URL=app,
                STRANGER_URL=stranger,
                KEYED_URL=keyed.rest_url,
                KEY=key,
                CAMERA_FILE=str(camera_file(tmp_path / "camera.y4m")),
                MICROPHONE_FILE=str(microphone_file(tmp_path / "microphone.wav")),
            )
        (given,) = feedback.newest(registry, since=datetime(2020, 1, 1, tzinfo=UTC), most=10)
        assert (given.label, given.consent, given.model_version) == ("sadness", True, "v1")
        # What the page said that it would keep is what the cloud can learn from.
        learnable = gather([given], ModelCard.read(folder), 0.3)
        assert learnable.unused == {}
        assert [m for m, table in learnable.tables.items() if table.lengths(np.array([0]))[0]] == [
            "text",
            "audio",
            "video",
        ]
