"""A server killed under an open page, in a real browser; ``server/web/tests/restart.spec.ts`` says what is seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.server.console.test_console_in_browser import Learning, add_waiting
from tests.server.serving.test_page_in_browser import camera_file, microphone_file
from tests.support.browser import in_a_browser, require_passes
from tests.support.console_pages import PASSWORD
from tests.support.fleet_runs import FleetGrid
from tests.support.media_files import film
from tests.support.server_process import ServerProcess
from tests.support.small_fleet import free_port
from tests.support.small_full_model import small_media_model

from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, feedback, users

pytestmark = pytest.mark.slow


class Mortal:
    """A server at one address, which is killed and started as the browser's test asks."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._model = small_media_model(folder)
        self._options = ("--rest-port", str(free_port()), *options)
        self._lock = threading.Lock()
        self._server: ServerProcess | None = None
        self.start()
        assert self._server is not None
        self.url = self._server.rest_url

    def start(self) -> None:
        """Start it, where it does not run."""
        with self._lock:
            if self._server is None:
                self._server = ServerProcess(self._folder, self._model, *self._options)

    def kill(self) -> None:
        """Kill it."""
        with self._lock:
            if self._server is not None:
                self._server.close()
                self._server = None


@contextmanager
def controlled(mortal: Mortal) -> Iterator[str]:
    """``/kill`` and ``/start``, for the browser's test."""

    class Control(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            {"/kill": mortal.kill, "/start": mortal.start}[self.path]()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    control = ThreadingHTTPServer(("127.0.0.1", 0), Control)
    threading.Thread(target=control.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{control.server_port}"
    finally:
        control.shutdown()
        control.server_close()
        mortal.kill()


@in_a_browser
def test_a_server_that_is_killed_under_a_page_and_comes_back(
    grid: FleetGrid, registry: Registry, fleet_folder: FleetFolder, tmp_path: Path
) -> None:
    add_waiting(registry)
    url = f"sqlite:///{tmp_path / 'server.db'}"
    with Registry.open(url) as own:
        users.add(own, "ada", "operator", PASSWORD)
    # More than one piece of an upload: what follows the film's end is no film's, and no player minds.
    (tmp_path / "film.webm").write_bytes(film(6.0, kind="webm").ljust(3 * 2**20, b"\0"))
    mortal = Mortal(tmp_path, "--fleet", str(fleet_folder.path))
    with controlled(mortal) as control, Learning(registry, "learn-2", rounds=100):
        require_passes(
            "restart.spec.ts",
            tmp_path,
            PAGE_URL=mortal.url,
            CONTROL_URL=control,
            PASSWORD=PASSWORD,
            FILM_FILE=str(tmp_path / "film.webm"),
            CAMERA_FILE=str(camera_file(tmp_path / "camera.y4m")),
            MICROPHONE_FILE=str(microphone_file(tmp_path / "microphone.wav")),
        )
    with Registry.open(url) as own:
        kept = list(feedback.newest(own, since=datetime(2020, 1, 1, tzinfo=UTC), most=10))
    # The one that was confirmed before, with what may be learned from it; and the other one once.
    assert sorted((each.label == "sadness" and each.consent, each.features is not None) for each in kept) == [
        (False, False),
        (True, True),
    ]
    assert list((tmp_path / "uploads").glob("*.*")) == []
