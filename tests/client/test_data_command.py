"""``fedaffect data``: lists what there is, and counts what is in a folder."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fedaffect.client.corpora.registry import CORPORA
from fedaffect.edge.cli.main import main

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def fedaffect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """The command's own main, as its script calls it, in a folder of its own."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["fedaffect", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def tiny_meld(tmp_path: Path) -> Path:
    folder = tmp_path / "MELD.Raw"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        row = '1,Hi.,Joey,joy,positive,0,0,1,1,"00:00:01,000","00:00:02,000"\n'
        (folder / f"{split}_sent_emo.csv").write_text(HEADER + row)
    return folder


def test_list_names_every_corpus_its_licence_and_source(fedaffect: Callable[..., Done]) -> None:
    done = fedaffect("data", "list")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for name, corpus in CORPORA.items():
        assert name in done.stdout
        assert corpus.info.licence in done.stdout
    assert "mosi_aligned.npz" in done.stdout
    assert "1,080 synthetic utterances" in done.stdout


def test_list_as_json(fedaffect: Callable[..., Done]) -> None:
    listed = json.loads(fedaffect("data", "list", "--json", "meld", "mosi").stdout)
    assert [each["name"] for each in listed] == ["meld", "mosi"]
    assert listed[0]["counts"]["train"] == 9989
    assert listed[1]["features_only"] is True
    assert {"licence", "size", "where", "needs", "modalities", "labels", "citation"} <= set(listed[0])


def test_list_one_shows_what_its_folder_needs(fedaffect: Callable[..., Done]) -> None:
    done = fedaffect("data", "list", "ferplus")
    assert "FER2013Train, FER2013Valid and FER2013Test" in done.stdout
    assert "so no natural partition" in done.stdout


def test_check_guesses_the_corpus_and_names_what_is_off(fedaffect: Callable[..., Done], tiny_meld: Path) -> None:
    done = fedaffect("data", "check", tiny_meld)
    assert done.returncode == 2
    assert "MELD" in done.stdout
    assert "✗" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "train is 1, officially 9,989" in line


def test_check_as_json_still_fails(fedaffect: Callable[..., Done], tiny_meld: Path) -> None:
    done = fedaffect("data", "check", tiny_meld, "--dataset", "meld", "--json")
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert said["agrees"] is False
    assert said["counts"]["dev"] == {"found": 1, "official": 1109}


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:c6f94b\nsize 72862\n"


def _wav(samples: int) -> bytes:
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(samples, np.float32), 16_000, format="WAV")
    return sound.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (POINTER, "git lfs pull"),
        (b"/annex/objects/SHA256E-s72862--c6f94b.wav\n", "git annex get"),
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b'{"error": "quota"}', "a server's answer"),
        (bytes(4_000), "zeros alone"),
        (b"nothing of the kind", "no sound file"),
    ],
)
def test_what_is_no_clip_is_listed_and_not_counted(
    fedaffect: Callable[..., Done], tmp_path: Path, content: bytes, says: str
) -> None:
    clips = tmp_path / "c" / "AudioWAV"
    clips.mkdir(parents=True)
    (clips / "1001_IEO_NEU_XX.wav").write_bytes(content)
    (clips / "1001_IEO_HAP_LO.wav").write_bytes(_wav(16_000))
    done = fedaffect("data", "check", tmp_path / "c", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["counts"]["with audio"]["found"]) == (2, 1)
    assert [says in reason for reason in said["unusable"].values()] == [True]
    done = fedaffect("data", "check", tmp_path / "c")
    assert says in done.stdout
    assert says in done.stderr


def test_a_header_without_sound_is_listed_and_refused_where_asked(
    fedaffect: Callable[..., Done], tmp_path: Path
) -> None:
    clips = tmp_path / "c" / "AudioWAV"
    clips.mkdir(parents=True)
    (clips / "1001_IEO_NEU_XX.wav").write_bytes(_wav(0))
    done = fedaffect("data", "check", tmp_path / "c")
    assert "a header and no sound" in done.stdout
    assert "clips are none" not in done.stderr
    assert "1 clips are none" in fedaffect("data", "check", "--strict", tmp_path / "c").stderr


def test_a_label_outside_the_set_is_one_line(fedaffect: Callable[..., Done], tiny_meld: Path) -> None:
    table = tiny_meld / "dev_sent_emo.csv"
    table.write_text(table.read_text().replace(",joy,", ",bliss,"))
    done = fedaffect("data", "check", tiny_meld)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "dev_sent_emo.csv:2: label 'bliss' is outside the set of meld" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data", "list", "mold"), "did you mean 'meld'"),
        (("data", "check", "."), "looks like no corpus known"),
        (("data", "check", "nowhere"), "no folder nowhere"),
        (("data", "check", ".", "--dataset", "meld"), "is not laid out as corpus meld; expected train_sent_emo.csv"),
        (("data", "check", ".", "--dataset", "synthetic"), "reads no folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    fedaffect: Callable[..., Done], arguments: tuple[str, ...], message: str
) -> None:
    done = fedaffect(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


def test_check_agrees_with_the_real_meld(fedaffect: Callable[..., Done], shared_data: Callable[[str], Path]) -> None:
    done = fedaffect("data", "check", shared_data("meld"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "✗" not in done.stdout
    assert "9,989" in done.stdout


def test_help_teaches_as_installed() -> None:
    command = Path(sys.executable).with_name("fedaffect")
    done = subprocess.run([command, "data", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fedaffect data check ~/corpora/MELD" in done.stdout
