"""``fedaffect train``: a run as every run, and encoders that everything else takes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from tests.support.small_models import model_folders
from transformers import AutoModel, AutoTokenizer

from fedaffect.client.corpora.registry import open_corpus
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.cli.main import fedaffect
from fedaffect.edge.errors import BundleError, ConfigError, RunError
from fedaffect.edge.runtime import EdgeRuntime
from fedaffect.server.federation.run_folder import CONFIG, RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.models.bundling.text import draft_text
from fedaffect.server.models.full_model import FullModel
from fedaffect.server.models.full_model.card import ModelCard
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.loading import open_encoder
from fedaffect.server.models.full_model.profiles import PROFILES
from fedaffect.server.trained_fusion import fusion_at
from fedaffect.simulation.recorded_run import RecordedRun
from fedaffect.simulation.running import Runner

SAID = {"Joyful": "i am so happy today", "Sad": "you am sad .", "Neutral": "i am . i am .", "Mad": "you you !"}
EPOCHS = 3


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return model_folders(tmp_path_factory.mktemp("models"), layers=2, channels=16)("bert")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "emorynlp"
    folder.mkdir()
    for split, times in (("train", 8), ("dev", 4), ("test", 4)):
        rows = ["Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode"]
        for n, (emotion, words) in enumerate(list(SAID.items()) * times):
            rows.append(f"{words},\"['Monica']\",{emotion},{n % 3},{n},1,1")
        (folder / f"emorynlp_{split}_final.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def config_of(tmp_path: Path, bert: Path, corpus: Path) -> Callable[..., RunSettings]:
    def make(name: str, **settings: Any) -> RunSettings:
        small = {"dataset": "emorynlp", "data_dir": corpus, "text": str(bert), "mode": "fine-tuned", "rounds": EPOCHS}
        quick = {"batch_size": 8, "encoder_lr": 2e-3, "lr": 1e-2, "out": tmp_path / "runs", "name": name}
        return RunSettings.of({**small, **quick, **settings})

    return make


def carry_on(config: RunSettings) -> dict[str, Any]:
    runner = Runner(Console(quiet=True), quiet=True)
    path = config.output.out / config.run_name
    if (path / CONFIG).is_file():
        return runner.resume(path, config)
    return runner.run(config)[1]


ConfigOf = Callable[..., RunSettings]


def test_a_run_leaves_what_every_run_leaves_and_encoders_that_others_load(
    tmp_path: Path, config_of: ConfigOf, bert: Path
) -> None:
    first, second = config_of("first", rounds=6), config_of("second", freeze="text:all")
    summary, frozen = carry_on(first), carry_on(second)
    assert summary["test"]["accuracy"] > 0.9
    assert (summary["model"], summary["clients"], summary["mode"]) == ("own", 1, "fine-tuned")
    assert frozen["networks"]["text"]["learned"] == 0 < summary["networks"]["text"]["learned"]
    assert len(RunFolder.open(tmp_path / "runs" / "first").metrics()) == summary["rounds"]

    out = str(tmp_path / "runs")
    for command in (["list"], ["show", "first"], ["compare", "second", "first"]):
        done = CliRunner().invoke(fedaffect, ["runs", *command, "--out", out], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert "first" in done.output
    assert "encoders that learned too" in (tmp_path / "runs" / "first" / "report.html").read_text()

    text = tmp_path / "runs" / "first" / "model" / "encoders" / "text"
    trained, source = (AutoModel.from_pretrained(str(folder)).state_dict() for folder in (text, bert))
    assert trained.keys() == source.keys()
    word = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(trained[word], source[word])
    assert AutoTokenizer.from_pretrained(str(text)).tokenize("i am") == ["i", "am"]
    kept = AutoModel.from_pretrained(str(tmp_path / "runs" / "second" / "model" / "encoders" / "text")).state_dict()
    assert all(torch.equal(kept[name], source[name]) for name in source)
    # What `server align` and `bundle build` open.
    cloud = open_encoder("text", PROFILES["cloud"].with_sources(text=str(text)), Compute())
    assert cloud.encode([cloud.prepare("i am so happy")])[0].shape[1] == cloud.width
    assert draft_text(str(text), tmp_path).width == 32

    with pytest.raises(RunError, match="for fedaffect server serve"):
        RecordedRun.read(tmp_path / "runs" / "first").model()
    # What `server serve` opens, and what `bundle build --fusion` takes.
    served = FullModel.load(tmp_path / "runs" / "first" / "model")
    kept = RunFolder.open(tmp_path / "runs" / "first").predictions()
    said = [utterance.sample.text for utterance in open_corpus("emorynlp", first.data.data_dir)]
    encoder = served.encoders["text"]
    tokens = encoder.encode([encoder.prepare(said[row]) for row in kept["rows"]])
    answers = served.fuse([{"text": each} for each in tokens])
    np.testing.assert_allclose(answers, kept["probabilities"], atol=1e-4)
    assert fusion_at(tmp_path / "runs" / "first").model == "own"
    (tmp_path / "runs" / "second" / "model" / "fusion.safetensors").unlink()
    with pytest.raises(BundleError, match="train --resume"):
        fusion_at(tmp_path / "runs" / "second")


@pytest.mark.slow
def test_align_and_bundle_build_take_what_was_trained(tmp_path: Path, config_of: ConfigOf, corpus: Path) -> None:
    carry_on(config_of("words", rounds=1))
    text = str(tmp_path / "runs" / "words" / "model" / "encoders" / "text")
    align = ["server", "align", "--profile", "cloud", "--text", text, "--data", f"emorynlp={corpus}", "--steps", "2"]
    done = CliRunner().invoke(fedaffect, [*align, "--out", str(tmp_path / "model")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert ModelCard.read(tmp_path / "model").sources == {"text": text}
    others = model_folders(tmp_path / "models", layers=2, channels=16)
    networks = ["--text", text, "--speech", str(others("wav2vec2")), "--vision", str(others("vit"))]
    build = ["bundle", "build", "--profile", "cloud", "--no-quantise", "--no-learn", *networks]
    done = CliRunner().invoke(fedaffect, [*build, "--out", str(tmp_path / "bundle")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert Bundle.load(tmp_path / "bundle").manifest.encoders["text"].width == 32
    # The run itself brings its fusion and the encoder that it learned with.
    run = ["--fusion", str(tmp_path / "runs" / "words"), "--out", str(tmp_path / "whole")]
    done = CliRunner().invoke(fedaffect, [*build[:5], *networks[2:], *run], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with EdgeRuntime.load(tmp_path / "whole") as runtime:
        said = runtime.predict("i am so happy today")
    served = FullModel.load(tmp_path / "runs" / "words" / "model")
    encoder = served.encoders["text"]
    tokens = encoder.encode([encoder.prepare("i am so happy today")])[0]
    np.testing.assert_allclose(list(said.probabilities.values()), served.fuse([{"text": tokens}])[0], atol=1e-4)
    with pytest.raises(ConfigError, match="leave that out"):
        CliRunner().invoke(fedaffect, [*build, *run], catch_exceptions=False)


def _in_a_child(config: RunSettings, until: Callable[[], bool] | None) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            carry_on(config)
            status = 0
        finally:
            # Nothing of the test's own process may run a second time.
            os._exit(status)
    if until is not None:
        while not until() and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_run_that_is_killed_in_the_middle_ends_with_the_same_bits(tmp_path: Path, config_of: ConfigOf) -> None:
    whole, parts = config_of("whole", patience=0), config_of("parts", patience=0)
    assert _in_a_child(whole, None) == 0
    first = tmp_path / "runs" / "parts" / "checkpoints" / "round-00001.json"
    assert _in_a_child(parts, first.is_file) == -signal.SIGKILL
    stood = RunFolder.open(tmp_path / "runs" / "parts").checkpoints.rounds()
    assert 1 <= max(stood) < EPOCHS
    assert _in_a_child(parts, None) == 0
    ours, theirs = (RunFolder.open(tmp_path / "runs" / name) for name in ("parts", "whole"))
    mine, other = (one.checkpoints.load(EPOCHS) for one in (ours, theirs))
    for kept, wanted in ((mine.arrays, other.arrays), (mine.state, other.state)):
        assert {name: a.tobytes() for name, a in kept.items()} == {name: a.tobytes() for name, a in wanted.items()}
    assert [line["dev"] for line in ours.metrics()] == [line["dev"] for line in theirs.metrics()]
    weights = [one.path / "model" / "encoders" / "text" / "model.safetensors" for one in (ours, theirs)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_training_ends_early_on_the_development_split(tmp_path: Path, config_of: ConfigOf) -> None:
    summary = carry_on(config_of("early", rounds=20, patience=1, lr=1e-9, encoder_lr=1e-9))
    assert summary["rounds"] == 2
    assert "after round 1" in summary["stopped_early"]


def test_what_makes_no_sense_is_refused(config_of: ConfigOf, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes no --dp"):
        config_of("dp", dp="local", epsilon=8.0)
    with pytest.raises(ConfigError, match="settings of fedaffect train"):
        RunSettings.of(text="somewhere")
    with pytest.raises(ConfigError, match="write text:half or text:all"):
        config_of("freeze", freeze="text")
    with pytest.raises(ConfigError, match="no device"):
        carry_on(config_of("device", device="abacus"))
    assert not (tmp_path / "runs" / "device").exists()
    with pytest.raises(BundleError, match="does not exist"):
        carry_on(config_of("text", text="./nothing"))


def test_the_command_trains_and_goes_on(tmp_path: Path, bert: Path, corpus: Path) -> None:
    place = ["--out", str(tmp_path / "runs")]
    small = ["--dataset", "emorynlp", "--data-dir", str(corpus), "--text", str(bert), "--batch-size", "8"]
    flags = ["--rounds", "2", "--patience", "0", "--freeze", "", "--precision", "bf16", "--seeds", "0,1", "--quiet"]
    done = CliRunner().invoke(fedaffect, ["train", *small, *flags, *place, "--name", "b"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert {p.name for p in (tmp_path / "runs" / "b").iterdir() if p.is_dir()} == {"seed=0", "seed=1"}
    again = ["train", "--resume", str(tmp_path / "runs" / "b" / "seed=0")]
    done = CliRunner().invoke(fedaffect, again, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "encoders/text" in done.output
