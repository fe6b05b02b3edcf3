"""Tests in a real browser: where its parts are, and whether they were asked for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

WEB: Final = Path(__file__).resolve().parents[2] / "server" / "web"
NODE: Final = shutil.which("node")
CHROMIUM: Final = shutil.which("chromium")
PLAYWRIGHT: Final = WEB / "node_modules" / ".bin" / "playwright"
_ASKED: Final = "FEDAFFECT_TEST_PAGE"
_MISSING: Final = (
    (not os.environ.get(_ASKED), "a browser wants the machine for itself, for minutes; run these with: make test-page"),
    (NODE is None, "node is not here"),
    (CHROMIUM is None, "chromium is not here: apt-get install chromium"),
    (not PLAYWRIGHT.exists(), "playwright is not here: npm ci in server/web"),
)

Test = TypeVar("Test", bound=Callable[..., Any])


def in_a_browser(test: Test) -> Test:
    """A test that runs where it was asked for and all that it needs is here, and else says why not."""
    for missing, reason in reversed(_MISSING):
        test = pytest.mark.skipif(missing, reason=reason)(test)
    return test


def require_passes(spec: str, folder: Path, **environment: str) -> None:
    """Run one of the page's specs in Chromium; what it prints is shown where it fails.

    Parameters
    ----------
    spec : str
        A file of server/web/tests.
    folder : Path
        Gets screenshots, unless FEDAFFECT_SCREENSHOTS names another place.
    **environment : str
        What the spec is told.
    """
    screenshots = os.environ.get("FEDAFFECT_SCREENSHOTS", str(folder / "screenshots"))
    done = subprocess.run(
        [str(PLAYWRIGHT), "test", spec],
        cwd=WEB,
        env={**os.environ, "CHROMIUM": str(CHROMIUM), "OUT": screenshots, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
