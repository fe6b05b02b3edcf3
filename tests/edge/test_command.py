"""The one command where extras are not installed: one line that says what to install."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.without_extras import EXTRAS, run_without

COMMAND = """
from fedaffect.edge.cli.main import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("bundle", "build"), "server"),
        (("server", "keys", "list"), "server"),
        (("simulate",), "simulation"),
    ],
)
def test_a_command_without_its_extra_says_what_to_install(
    arguments: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    done = run_without(EXTRAS, COMMAND, *arguments, environment={"FEDAFFECT_CACHE": str(tmp_path)})
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: this needs ")
    assert f"install it with: pip install 'fedaffect[{extra}]'" in done.stderr
    debugged = run_without(EXTRAS, COMMAND, "--debug", *arguments, environment={"FEDAFFECT_CACHE": str(tmp_path)})
    assert "Traceback" in debugged.stderr


def test_the_list_of_commands_says_which_lack_what() -> None:
    done = run_without(EXTRAS, COMMAND, "--help")
    assert done.returncode == 0, done.stderr
    assert "pip install 'fedaffect[" in done.stdout
    assert "Recognise emotion on this device" in done.stdout


def test_a_module_of_ours_that_is_not_there_is_a_mistake_of_ours() -> None:
    done = run_without({"fedaffect.server"}, COMMAND, "server", "keys", "list")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
