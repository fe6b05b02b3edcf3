"""Mistakes in a plug-in of somebody else's: one line that names their file and line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from numpy.linalg import norm

from fedaffect.client.models.registry import PLUGINS, build_model
from fedaffect.client.plugins import offering
from fedaffect.edge.cli.main import main
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.own_code import raised_in, said_of

SOURCE = """
from fedaffect.client.corpora.meld import Meld

def settings():
    return {}["path"]

class Broken(Meld):
    def __init__(self, data_dir, seed=0):
        settings()

def picky(widths, num_classes):
    return len(3)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with a corpus."""
    site = tmp_path / "site-packages"
    about = site / "own_notes-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-notes\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[fedaffect.corpora]\nown-notes = own_notes:Broken\n")
    (site / "own_notes.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_notes", raising=False)
    return site


def test_a_command_names_file_and_line_and_debug_shows_the_rest(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fedaffect", "data", "check", ".", "--dataset", "own-notes"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    place = Path("site-packages", "own_notes.py")
    assert capsys.readouterr().err == f"error: KeyError: 'path' ({place}:5); fedaffect --debug shows the traceback\n"
    monkeypatch.setattr(sys, "argv", [*command, "--debug"])
    with pytest.raises(KeyError):
        main()


def test_a_mistake_inside_a_model_is_not_taken_for_wrong_options(package: Path) -> None:
    import own_notes  # type: ignore[import-not-found]

    with offering({(PLUGINS.group, "@picky"): own_notes.picky}):
        with pytest.raises(TypeError) as caught:
            build_model("@picky", {"text": 6}, 4, {})
        assert raised_in(caught.value).endswith("own_notes.py:12")
        with pytest.raises(ConfigError, match="does not take these options"):
            build_model("@picky", {"text": 6}, 4, {"width": 3})


def _library() -> None:
    norm("no numbers")


def _ours() -> None:
    build_model("cmt", {}, 0, {})


@pytest.mark.parametrize("call", [_library, _ours])
def test_what_a_library_or_fedaffect_raises_is_named_by_who_called_it(call: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:
        call()
    assert Path(raised_in(caught.value).rpartition(":")[0]).name == Path(__file__).name
    assert "\n" not in said_of(caught.value)
