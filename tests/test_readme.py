"""What README and the guides tell a reader to type works: each command and each example is run from its page.

Commands run in a folder of the page's own, in a shell, with small corpora where a page names real ones
(``tests/support/small_corpora.py``) and with fewer rounds (``tests/support/reader.py`` says what is changed).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.support.pages import ROOT, Page
from tests.support.reader import Reader, reading, typed
from tests.support.small_corpora import write_materials

PAGES: Final = ("README.md", *(f"docs/guides/{name}.md" for name in ("simulate", "edge", "cloud", "fleet", "flower")))
GUIDES: Final = "FEDAFFECT_TEST_GUIDES"
# What no test can run, by the beginning of the command, and why.
NOT_RUN: Final[Mapping[str, str]] = {
    "make demo": "installs from the network; what it runs after that is run by the other commands",
    "source .venv/bin/activate": "the tests run in the environment that they test",
    "pip install": "installs from the network; a test of the wheel installs it into a fresh environment",
    "fedaffect edge watch": "needs a camera and a microphone",
    "scp edge.tar device:": "needs a second machine",
}


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.fleet
@pytest.mark.parametrize("name", PAGES)
def test_all_that_a_page_says_to_type_works(
    name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name != "README.md" and not os.environ.get(GUIDES):
        pytest.skip("the guides' commands take many minutes; run them with: make test-guides")
    home = tmp_path / "home"
    cache = tmp_path_factory.getbasetemp() / "pages-cache"  # one for all pages: the bundle is built once
    keys = tmp_path_factory.getbasetemp() / "pages-keys"
    environment = {
        **{"HOME": str(home), "FEDAFFECT_DATA": str(tmp_path / "data"), "FEDAFFECT_FLEET": str(tmp_path / "fleet")},
        **{"FEDAFFECT_CACHE": str(cache), "FEDAFFECT_CONFIG": str(keys), "FLWR_HOME": str(tmp_path / "flwr")},
    }
    folder = tmp_path / "page"
    write_materials(folder, home)
    (home / ".cache").mkdir()
    (home / ".cache" / "fedaffect").symlink_to(cache, target_is_directory=True)
    with reading(folder, environment, one_process=name in ("README.md", "docs/guides/simulate.md")) as reader:
        reader.type("fedaffect bundle build --if-missing")  # README's `make demo` did it
        for language, text in typed(Page(ROOT / name)):
            if language == "python":
                reader.python(text)
            elif is_run(text):
                if "VERSION" in text:
                    reader.know("VERSION", _rolled_out(reader))
                reader.type(text)


def _rolled_out(reader: Reader) -> str:
    """The bundle version that a reader copies from the status."""
    status = reader.type("fedaffect fleet status --fleet fleet --json")
    found = re.search(r'"version": "([^"]+)"', status)
    assert found, status
    return found[1]


def test_what_is_not_run_still_stands_on_a_page() -> None:
    commands = [text for name in PAGES for _, text in typed(Page(ROOT / name))]
    assert [start for start in NOT_RUN if not any(c.startswith(start) for c in commands)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_block_says_its_language(name: str) -> None:
    assert {block.language for block in Page(ROOT / name).blocks()} <= {"sh", "python", "text", "toml", "ini"}
