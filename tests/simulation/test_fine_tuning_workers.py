"""Workers of Ray Train that share each batch, on one machine and on two, learn what one process learns."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from tests.support.hosts import HEAD, PORT, listing, network, start_ray
from tests.support.small_models import model_folders
from tests.support.whole_systems import takes_minutes

from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.running import Runner

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray leaves its files open, and Ray Train warns of its own options.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
SAID = {"Joyful": "i am so happy today", "Sad": "you am sad .", "Neutral": "i am . i am .", "Mad": "you you !"}


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """Without dropout, which each process draws for its own rows."""
    torch.set_num_threads(1)
    folder = model_folders(tmp_path / "models", layers=2, channels=16)("bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "emorynlp"
    folder.mkdir()
    for split, times in (("train", 8), ("dev", 4), ("test", 4)):
        rows = ["Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode"]
        for n, (emotion, words) in enumerate(list(SAID.items()) * times):
            rows.append(f"{words},\"['Monica']\",{emotion},{n % 3},{n},1,1")
        (folder / f"emorynlp_{split}_final.csv").write_text("\n".join(rows) + "\n")
    return folder


@takes_minutes
def test_two_workers_equal_one_process_and_go_on(tmp_path: Path, bert: Path, corpus: Path) -> None:
    small = {"dataset": "emorynlp", "data_dir": corpus, "text": str(bert), "mode": "fine-tuned", "patience": 0}
    # A batch of 7 does not divide by two, and the last one of an epoch is shorter still.
    quick = {"batch_size": 7, "encoder_lr": 1e-4, "lr": 1e-3, "head_dropout": 0.0, "out": tmp_path / "runs"}
    runner = Runner(Console(quiet=True), quiet=True)
    one = RunSettings.of({**small, **quick, "rounds": 2, "name": "one"})
    two = one.changed(workers=2, name="two")
    runner.run(one)
    runner.run(two)
    alone, shared = (RunFolder.open(tmp_path / "runs" / name) for name in ("one", "two"))
    for mine, theirs in zip(shared.metrics(), alone.metrics(), strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)
        assert mine["dev"]["loss"] == pytest.approx(theirs["dev"]["loss"], rel=1e-3)
    answers = [folder.predictions()["probabilities"] for folder in (shared, alone)]
    np.testing.assert_allclose(*answers, atol=1e-3)

    # Its workers are gone and its last epoch was lost: others go on to the same bits.
    shutil.copytree(shared.path, tmp_path / "runs" / "again")
    whole = shared.checkpoints.load(2).arrays
    again = RunFolder.open(tmp_path / "runs" / "again")
    again.checkpoints.keep_only({1})
    (again.path / "summary.json").unlink()
    runner.resume(again.path, two.changed(name="again"))
    for name, array in again.checkpoints.load(2).arrays.items():
        np.testing.assert_array_equal(array, whole[name])


@takes_minutes
def test_two_hosts_that_share_no_file_learn_what_one_process_learns(tmp_path: Path, bert: Path, corpus: Path) -> None:
    quick = {"batch_size": 7, "encoder_lr": 1e-4, "lr": 1e-3, "head_dropout": 0.0, "rounds": 2, "patience": 0}
    settings = {"dataset": "emorynlp", "data_dir": corpus, "text": str(bert), "mode": "fine-tuned", "name": "one"}
    Runner(Console(quiet=True), quiet=True).run(RunSettings.of({**settings, **quick, "out": tmp_path / "runs"}))
    alone = RunFolder.open(tmp_path / "runs" / "one").metrics()
    with network() as machines:
        first, second = machines.hosts[0], machines.host()
        address = f"{first.address}:{PORT}"
        # gloo looks for its own address by the host's name, which is that of this machine for both.
        start_ray(first, *HEAD, GLOO_SOCKET_IFNAME="near2")
        start_ray(second, f"--address={address}", GLOO_SOCKET_IFNAME="far2")
        first.copy(bert, "/tmp/bert")
        first.copy(corpus, "/tmp/data/emorynlp")
        flags = [word for name, value in quick.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        flags += ["--dataset", "emorynlp", "--data-dir", "/tmp/data/emorynlp", "--text", "/tmp/bert"]
        flags += ["--workers", "2", "--ray-address", address, "--out", "/tmp/runs", "--name", "two"]
        command = ("-c", "from fedaffect.edge.cli.main import main; main()", "train", *flags)
        process = first.start(*command)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        read = subprocess.run(first.inside("cat", "/tmp/runs/two/metrics.jsonl"), capture_output=True, check=True)
        shared = [json.loads(line) for line in read.stdout.splitlines()]
        # Each has one processor, and one worker takes it: the cohort and the network were fetched by the second.
        fetched = [listing(host, "/tmp/cache/cohorts-from-elsewhere") for host in (first, second)]
        assert [len(names) for names in fetched] == [0, 2]
    for mine, theirs in zip(shared, alone, strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)
        assert mine["dev"]["loss"] == pytest.approx(theirs["dev"]["loss"], rel=1e-3)
