"""What README and the guides tell a reader to type works: each command and each example is run from its page.

Commands run in a folder of the page's own, in a shell, with small corpora where a page names real ones
(``tests/support/small_corpora.py``) and with fewer rounds (``tests/support/reader.py`` says what is changed).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.support.pages import ROOT, Page
from tests.support.reader import reading, typed
from tests.support.small_corpora import write_materials

PAGES: Final = (
    "README.md",
    *(f"docs/guides/{name}.md" for name in ("simulate", "edge", "cloud", "fleet", "operate", "flower")),
)
GUIDES: Final = "FEDAFFECT_TEST_GUIDES"
# What no test can run, by the beginning of the command, and why.
NOT_RUN: Final[Mapping[str, str]] = {
    "make demo": "installs from the network; what it runs after that is run by the other commands",
    "source .venv/bin/activate": "the tests run in the environment that they test",
    "pip install": "installs from the network; a test of the wheel installs it into a fresh environment",
    "fedaffect run-app MY_APP": "needs a project and a GPU of one's own; tests/simulation/apps runs projects",
    "fedaffect edge watch": "needs a camera and a microphone",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "runs until it is stopped; tests/server/test_traces.py has a collector",
    "prometheus --config.file": "runs until it is stopped; a test checks the file by promtool, where that is",
    "scp edge.tar device:": "needs a second machine",
    "fedaffect fleet rollout": "needs a bundle that two people's examples made; tests/server/fleet rolls some out",
}


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.fleet
@pytest.mark.parametrize("name", PAGES)
def test_all_that_a_page_says_to_type_works(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not os.environ.get(GUIDES):
        pytest.skip("what README and the guides say to type takes many minutes; run it with: make test-guides")
    home = tmp_path / "home"
    built = request.getfixturevalue("built_edge").environment  # README's `make demo` built it
    environment = {
        **{"HOME": str(home), "FEDAFFECT_DATA": str(tmp_path / "data"), "FEDAFFECT_FLEET": str(tmp_path / "fleet")},
        **{"FLWR_HOME": str(tmp_path / "flwr"), **built},
    }
    folder = tmp_path / "page"
    if name in ("docs/guides/flower.md", "docs/guides/operate.md"):  # which are read in a clone
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    write_materials(folder, home)
    (home / ".cache").mkdir()
    (home / ".cache" / "fedaffect").symlink_to(built["FEDAFFECT_CACHE"], target_is_directory=True)
    with reading(folder, environment, one_process=name in ("README.md", "docs/guides/simulate.md")) as reader:
        for language, text in typed(Page(ROOT / name)):
            if language == "python":
                reader.python(text)
            elif is_run(text):
                reader.type(text)


def test_what_is_not_run_still_stands_on_a_page() -> None:
    commands = [text for name in PAGES for _, text in typed(Page(ROOT / name))]
    assert [start for start in NOT_RUN if not any(c.startswith(start) for c in commands)] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_block_says_its_language(name: str) -> None:
    assert {block.language for block in Page(ROOT / name).blocks()} <= {
        "sh",
        "python",
        "text",
        "toml",
        "ini",
        "html",
        "diff",
    }
