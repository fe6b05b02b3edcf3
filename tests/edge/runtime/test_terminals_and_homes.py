"""The command where the terminal's encoding lacks characters, and where a user has no home."""

from __future__ import annotations

import os
import subprocess
import sys
from json import loads
from pathlib import Path

import pytest

from fedaffect.edge.bundle import SigningKey, sign
from fedaffect.edge.cli.terminal import use_ascii_where_needed
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.folders import cache_folder, config_folder, data_folder

_MAIN = "from fedaffect.edge.cli.main import main; main()"


@pytest.fixture
def signed(make_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    folder = make_bundle(11)
    sign(folder, SigningKey.own())
    return folder


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", _MAIN, *arguments], capture_output=True, env=environment, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "cp932", "utf-8"])
def test_bars_are_drawn_in_every_encoding(signed: Path, encoding: str) -> None:
    done = command("edge", "predict", "--bundle", str(signed), "--text", "i am happy", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode(encoding).splitlines()
    assert len([line for line in lines if "%" in line]) == 8
    drawn = "█" if encoding in ("utf-8", "cp437") else "#"
    assert drawn in "".join(lines) or "|" in "".join(lines)
    assert "\\u" not in "".join(lines)


def test_json_stays_json_in_ascii(signed: Path, tmp_path: Path) -> None:
    (tmp_path / "écoute 😀.txt").write_text("x")
    done = command("data", "list", "--json", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert loads(done.stdout)


@pytest.mark.slow
def test_an_error_names_a_file_whatever_its_name(tmp_path: Path) -> None:
    for encoding in ("ascii", "cp1252", "utf-8"):
        done = command("data", "check", os.fsdecode(bytes(tmp_path) + b"/\xff\xc3\xa9"), PYTHONIOENCODING=encoding)
        assert done.returncode == 2
        assert done.stderr.startswith(b"error: ")
        assert b"Traceback" not in done.stderr
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("text", ["😀 é → █", "\udcff", "\ue000"])
def test_what_has_no_likeness_is_escaped_as_json_reads_it(text: str) -> None:
    use_ascii_where_needed()
    written = text.encode("ascii", "fedaffect-ascii").decode()
    assert loads(f'"{written}"') == text.replace("→", "->").replace("█", "#")


def test_without_a_home_each_folder_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for folder, name in ((cache_folder, "CACHE"), (config_folder, "CONFIG"), (data_folder, "DATA")):
        monkeypatch.delenv(f"FEDAFFECT_{name}", raising=False)
        with pytest.raises(ConfigError, match=f"no home folder; set HOME, or FEDAFFECT_{name}"):
            folder()
        monkeypatch.setenv(f"FEDAFFECT_{name}", "/somewhere")
        assert folder() == Path("/somewhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without an entry in the list of users")
def test_without_a_home_one_line_says_what_to_set(tmp_path: Path) -> None:
    code = f"import os; os.setgroups([]); os.setgid(4242); os.setuid(4242); os.environ.pop('HOME', None); {_MAIN}"
    names = ("HOME", "XDG_CACHE_HOME", "FEDAFFECT_CACHE", "FEDAFFECT_CONFIG", "FEDAFFECT_DATA")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    arguments = [sys.executable, "-c", code, "edge", "predict", "--text", "hi"]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False, cwd="/")
    if "No module named" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("the installation cannot be read by other users")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no home folder; set HOME, or FEDAFFECT_" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("simulat", "there is no command 'simulat'; did you mean simulate?"),
        ("data chek", "there is no command 'chek'; did you mean check?"),
        ("edge nothing-alike", "there is no command 'nothing-alike'; known: "),
        ("edge predict --txt x", "there is no option --txt; did you mean --text?"),
        ("simulate --round 3", "there is no --round; did you mean --rounds?"),
    ],
)
def test_a_near_miss_of_a_command_or_flag_is_said(words: str, says: str) -> None:
    done = command(*words.split())
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"error: {says}")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("group", ["data", "edge", "fleet"])
def test_a_group_alone_shows_its_commands_line_by_line(group: str) -> None:
    done = command(group)
    assert done.returncode == 2
    assert b"Commands:\n" in done.stderr
    assert done.stderr.count(b"\n") > 5
