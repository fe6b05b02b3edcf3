"""Films and kept sessions in a real browser: what ``server/web/tests/film.spec.ts`` looks at."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.serving.test_page_in_browser import (
    camera_file,
    microphone_file,
)
from tests.support.browser import in_a_browser, require_passes
from tests.support.media_files import film
from tests.support.small_engine import SmallEngine

from fedaffect.server.registry import Registry
from fedaffect.server.serving.app import background

pytestmark = pytest.mark.slow


@in_a_browser
def test_what_a_person_does_with_a_film(tmp_path: Path) -> None:
    (tmp_path / "film.webm").write_bytes(film(12.0, kind="webm"))
    with (
        Registry.open(f"sqlite:///{tmp_path / 'server.db'}") as registry,
        background(SmallEngine(), registry=registry) as server,
    ):
        require_passes(
            "film.spec.ts",
            tmp_path,
            PAGE_URL=server.rest_url,
            FILM_FILE=str(tmp_path / "film.webm"),
            CAMERA_FILE=str(camera_file(tmp_path / "camera.y4m")),
            MICROPHONE_FILE=str(microphone_file(tmp_path / "microphone.wav")),
        )
