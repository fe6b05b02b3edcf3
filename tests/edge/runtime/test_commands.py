from __future__ import annotations

import os
import subprocess
import sys
from json import loads
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.edge.runtime.test_cascade import Counting

from fedaffect.edge.bundle import SigningKey, sign
from fedaffect.edge.cli.edge import edge
from fedaffect.edge.errors import BundleError, ConfigError, DataError
from fedaffect.edge.runtime.probes import drawn_face, spoken
from fedaffect.server.serving.app import background


@pytest.fixture
def signed(make_bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDAFFECT_CONFIG", str(tmp_path / "config"))
    folder = make_bundle(11)
    sign(folder, SigningKey.own())
    return folder


def run(*arguments: str) -> str:
    done = CliRunner().invoke(edge, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_sentence_as_json(signed: Path) -> None:
    answer = loads(run("predict", "--bundle", str(signed), "--text", "i am happy", "--json"))
    assert set(answer) == {
        "label",
        "probabilities",
        "confidence",
        "source",
        "modalities",
        "latency_ms",
        "model_version",
        "offload_reason",
        "notes",
        "request_id",
        "adaptation",
    }
    assert answer["modalities"] == ["text"]
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_a_sentence_for_people(signed: Path) -> None:
    lines = run("predict", "--bundle", str(signed), "--text", "i am happy").splitlines()
    assert "from words, by this device" in lines[0]
    assert len([line for line in lines if "%" in line]) == 8


def test_film_picture_and_sound(signed: Path, made, tmp_path: Path) -> None:
    made.write_film(tmp_path / "film.mp4", [drawn_face()] * 10, spoken(2.0))
    made.write_film(tmp_path / "mute.mp4", [drawn_face()] * 10)
    made.write_sound(tmp_path / "voice.wav", spoken(2.0))
    Image.fromarray(drawn_face()).save(tmp_path / "face.jpg")
    for arguments, modalities in (
        (("--video", "film.mp4"), ["audio", "video"]),
        (("--video", "mute.mp4"), ["video"]),
        (("--video", "mute.mp4", "--audio", "voice.wav"), ["audio", "video"]),
        (("--image", "face.jpg", "--text", "sad"), ["text", "video"]),
        (("--audio", "voice.wav"), ["audio"]),
    ):
        placed = [str(tmp_path / a) if a.endswith(("mp4", "wav", "jpg")) else a for a in arguments]
        assert loads(run("predict", "--bundle", str(signed), "--json", *placed))["modalities"] == modalities


def test_mistakes_are_named(signed: Path, tmp_path: Path) -> None:
    for arguments, error, says in (
        (["--text", "sad", "--bundle", str(tmp_path / "none")], BundleError, "fedaffect bundle build"),
        (["--bundle", str(signed)], ConfigError, "nothing to go by"),
        (["--bundle", str(signed), "--video", "a", "--image", "b"], ConfigError, "one of them"),
        (["--bundle", str(signed), "--text", "a", "--cloud", "http://127.0.0.1:1"], ConfigError, "--privacy"),
        (["--bundle", str(signed), "--text", "a", "--attention"], BundleError, "tell its attention; build one"),
        (["--bundle", str(signed), "--image", str(tmp_path / "no.png"), "--text", "a"], DataError, "check the path"),
        (["--bundle", str(signed), "--audio", str(tmp_path / "no.wav"), "--text", "a"], DataError, "does not exist"),
        (["--bundle", str(signed), "--video", str(tmp_path), "--text", "a"], DataError, "is no file; check the path"),
    ):
        with pytest.raises(error, match=says):
            CliRunner().invoke(edge, ["predict", *arguments], catch_exceptions=False)


def test_a_film_to_watch_must_be_there(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.mp4 does not exist; check the path"):
        CliRunner().invoke(
            edge,
            ["watch", "--bundle", str(signed), "--video", str(tmp_path / "no.mp4"), "--text", "a"],
            catch_exceptions=False,
        )


def test_a_file_that_cannot_be_used_is_left_out_with_its_reason(signed: Path, made, tmp_path: Path) -> None:
    made.write_film(tmp_path / "mute.mp4", [drawn_face()] * 10)
    made.write_sound(tmp_path / "voice.wav", spoken(2.0))
    for option, file, says in (
        ("--audio", "mute.mp4", "mute.mp4 has no sound track; leave audio out or use another file"),
        ("--video", "voice.wav", "voice.wav has no pictures; leave video out or use another file"),
    ):
        answer = loads(run("predict", "--bundle", str(signed), "--text", "sad", "--json", option, str(tmp_path / file)))
        assert "text" in answer["modalities"]
        assert any(note.endswith(says) for note in answer["notes"]), answer["notes"]


def test_the_cloud_is_asked_and_missed(signed: Path) -> None:
    address = ("--cloud", "http://127.0.0.1:9", "--privacy", "features", "--deadline-ms", "5000")
    answer = loads(run("predict", "--bundle", str(signed), "--text", "you", "--json", *address))
    assert answer["source"] == "edge"
    assert answer["offload_reason"] in ("cloud-failed", "confident")


def test_a_prediction_is_kept_and_labelled(signed: Path) -> None:
    said = run("predict", "--bundle", str(signed), "--text", "i am happy", "--keep").splitlines()
    request_id = said[-1].removeprefix("request ")
    quiet = run("feedback", request_id, "joy", "--consent")
    assert "labelled joy, may be learned from; nothing leaves this device" in quiet
    (example,) = loads(run("examples", "list", "--json"))
    assert (example["request_id"], example["label"], example["consent"]) == (request_id, "joy", True)
    told = run("feedback", request_id, "joy", "--consent", "--upload", "--privacy", "features")
    assert "waiting for the cloud: feedback and example" in told
    assert [e["kind"] for e in loads(run("queue", "list", "--json"))["entries"]] == ["feedback", "example"]
    elsewhere = run("feedback", "elsewhere", "joy", "--privacy", "features")
    assert "note: no example of request elsewhere" in elsewhere
    for arguments, error, says in (
        ((request_id, "joyy"), ConfigError, "did you mean 'joy'"),
        (("r9", "joy"), DataError, "no example 'r9'"),
    ):
        with pytest.raises(error, match=says):
            CliRunner().invoke(edge, ["feedback", *arguments], catch_exceptions=False)


def test_nothing_is_kept_without_being_asked(signed: Path) -> None:
    run("predict", "--bundle", str(signed), "--text", "i am happy")
    assert loads(run("examples", "list", "--json")) == []


def test_a_question_waits_for_the_cloud_and_is_answered(signed: Path) -> None:
    words = ("--bundle", str(signed), "--text", "you", "--json", "--privacy", "features", "--defer")
    with pytest.raises(ConfigError, match="--cloud"):
        CliRunner().invoke(edge, ["predict", *words], catch_exceptions=False)
    asked = loads(run("predict", *words, "--cloud", "http://127.0.0.1:9", "--deadline-ms", "5000"))
    assert asked["offload_reason"] == "cloud-failed"
    assert "the cloud is asked later" in asked["notes"]
    (entry,) = loads(run("queue", "list", "--json"))["entries"]
    assert (entry["kind"], entry["request_id"]) == ("prediction", asked["request_id"])
    with background(Counting()) as server:
        assert "1 delivered" in run("queue", "send", "--cloud", server.rest_url)
    late = loads(run("queue", "answers", "--json"))
    assert (late[asked["request_id"]]["source"], late[asked["request_id"]]["model_version"]) == ("cloud", "counting-1")
    assert "no late answers" in run("queue", "answers")


def test_watching_a_film_and_test_devices(signed: Path, made, tmp_path: Path) -> None:
    made.write_film(tmp_path / "film.mp4", [drawn_face()] * 40, spoken(4.0))
    lines = run("watch", "--bundle", str(signed), "--video", str(tmp_path / "film.mp4"), "--json").splitlines()
    assert len(lines) >= 3
    assert all(loads(line)["modalities"] == ["audio", "video"] for line in lines)
    camera = "lavfi:testsrc2=size=64x64:rate=10,realtime"
    short = ("--window-s", "0.6", "--hop-s", "0.2", "--count", "2", "--json")
    live = run("watch", "--bundle", str(signed), "--camera", camera, "--microphone", "none", *short)
    assert len(live.splitlines()) == 2


def test_watching_without_devices(signed: Path) -> None:
    with pytest.raises(DataError, match=r"no camera at v4l2:/dev/video99.*no microphone at alsa:none99"):
        CliRunner().invoke(
            edge,
            ["watch", "--bundle", str(signed), "--camera", "v4l2:/dev/video99", "--microphone", "alsa:none99"],
            catch_exceptions=False,
        )


def test_bench_names_every_part(signed: Path) -> None:
    parts = loads(run("bench", "--bundle", str(signed), "--repeats", "1", "--json"))
    assert [part["part"].split(",")[0] for part in parts] == [
        "looking for a face",
        "encoding a face",
        "looking for a voice",
        "preparing sound",
        "encoding sound",
        "encoding 20 words",
        "fusion",
        "all of it: 15 pictures",
        "a hop of half a second",
    ]
    assert all(np.isfinite(part["median_ms"]) for part in parts)


def test_the_installed_command_says_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from fedaffect.edge.cli.main import main; main()", "edge", "predict", "--text", "sad"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[3],
        env={**os.environ, "FEDAFFECT_CACHE": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "fedaffect bundle build" in done.stderr
