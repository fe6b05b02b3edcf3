"""Every mistake is one line with its remedy, exit code 2, and nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.simulation.cli.conftest import Fedaffect, assert_one_line
from tests.support.recorded import answers, recorded_run

MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--dataset", "melt"), ("'melt'", "did you mean 'meld'?", "crema_d", "fedaffect data list")),
        (("--model", "cnt"), ("'cnt'", "did you mean 'cmt'?")),
        (("--model-option", "depth9=2"), ("depth9",)),
        (("--strategy", "fedavgg"), ("'fedavgg'", "did you mean 'fedavg'?", "scaffold")),
        (("--strategy-option", "server-lr=1"), ("server-lr",)),
        (("--strategy-option", "server-lr"), ("server-lr", "name=value")),
        (("--labels", "meld5"), ("'meld5'", "meld7")),
        (("--partition", "dirichlet:x:5"), ("dirichlet:ALPHA:CLIENTS",)),
        (("--partition", "random"), ("'random'", "iid:CLIENTS")),
        (("--partition", "iid:5000"), ("5000", "100")),
        (("--partition", "fedmultimodal"), ("meld",)),
        (("--modalities", "smell"), ("'smell'", "audio")),
        (("--loss", "hinge"), ("'hinge'", "cross-entropy")),
        (("--optimizer", "adm"), ("'adm'", "adamw")),
        (("--engine", "spark"), ("'spark'", "flower")),
        (("--clients-per-round", "11"), ("--clients-per-round 11", "10 clients")),
        (("--lr", "0"), ("--lr",)),
        (("--missing-modality", "1.5"), ("--missing-modality", "between 0 and 1")),
        (("--centralized", "--local-only"), ("--centralized and --local-only exclude each other",)),
        (("--seed", "1", "--seeds", "1,2"), ("--seed and --seeds exclude each other",)),
        (("--resume", "runs/x", "--overwrite"), ("--resume and --overwrite exclude each other",)),
        (("--resume", "runs/x"), ("runs/x", "not a run folder")),
        (("--seeds", "0,zero"), ("--seeds", "0,1,2")),
        (("--sweep", "lrr=1,2"), ("'lrr'", "did you mean 'lr'?")),
        (("--sweep", "lr"), ("--sweep lr=a,b,c",)),
        (("--sweep", "strategy=fedavg,fedavgg"), ("'fedavgg'",)),
        (("--rounds", "many"), ("'many' is not a valid integer",)),
        (("--config", "absent.toml"), ("absent.toml", "--config")),
        (("--name", "a/b"), ("a/b", "--out")),
        (("--folds", "1"), ("--folds 1",)),
        (("--attack", "signflip"), ("'signflip'", "did you mean 'sign-flip'?", "backdoor")),
        (("--attack", "scale", "--attackers", "1"), ("--attackers", "below 1")),
        (("--attackers", "0.2"), ("--attackers", "--attack")),
        (("--attack", "scale", "--attack-option", "factr=2"), ("'factr'", "did you mean 'factor'?")),
        (("--attack", "backdoor", "--attack-option", "target=7"), ("target=7", "0 to 1")),
        (("--attack", "scale", "--secagg"), ("--attack scale", "masked", "label-flip")),
        (("--norm-bound", "-1"), ("--norm-bound",)),
        (("--norm-bound", "1", "--secagg"), ("--norm-bound", "--secagg hides")),
        (("--strategy", "centred-clipping", "--secagg"), ("centred-clipping", "--secagg hides")),
        (("--strategy", "krum", "--secagg"), ("krum", "--secagg hides")),
        (("--mode", "asynch"), ("'asynch'", "did you mean 'async'?")),
        (("--mode", "async", "--strategy", "scaffold"), ("--mode async", "scaffold", "fedavg")),
        (("--mode", "async", "--buffer-size", "0"), ("--buffer-size",)),
        (("--over-selection", "0.5"), ("--over-selection", "1.3")),
        (("--deadline-s", "0"), ("--deadline-s",)),
        (("--trace", "phones"), ("phones", "devices")),
        (("--trace", "devices", "--trace-option", "dropouts=1"), ("'dropouts'", "did you mean 'dropout'?")),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_a_wrong_flag(
    fedaffect: Fedaffect, mosi: Path, tmp_path: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_one_line(fedaffect("simulate", "--dataset", "mosi", "--data-dir", mosi, *flags), *words)
    assert not list(tmp_path.glob("runs/*"))


def test_an_unknown_key_names_the_file_and_the_keys(fedaffect: Fedaffect, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("round = 3\n")
    assert_one_line(fedaffect("simulate", "--config", "mine.toml"), "mine.toml", "did you mean 'rounds'?", "known: ")
    (tmp_path / "mine.toml").write_text("rounds = 'three'\n")
    assert_one_line(fedaffect("simulate", "--config", "mine.toml"), "mine.toml", "--rounds takes a whole number")
    (tmp_path / "mine.toml").write_text("centralized = 1\n")
    assert_one_line(fedaffect("simulate", "--config", "mine.toml"), "mine.toml", "--centralized takes true or false")
    (tmp_path / "mine.toml").write_text("centralized = true\nlocal-only = true\n")
    assert_one_line(fedaffect("simulate", "--config", "mine.toml"), "exclude each other")
    (tmp_path / "mine.toml").write_text("rounds = \n")
    assert_one_line(fedaffect("simulate", "--config", "mine.toml"), "mine.toml", "not TOML", "line 1")


def test_missing_and_damaged_data(fedaffect: Fedaffect, mosi: Path, tmp_path: Path) -> None:
    assert_one_line(fedaffect("simulate", "--dataset", "mosi"), "--data-dir")
    assert_one_line(fedaffect("simulate", "--dataset", "mosi", "--data-dir", "nowhere"), "nowhere")
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "mosi_aligned.npz").write_bytes((mosi / "mosi_aligned.npz").read_bytes()[:20_000])
    assert_one_line(
        fedaffect("simulate", "--dataset", "mosi", "--data-dir", cut), "mosi_aligned.npz", "download it again"
    )
    assert not (tmp_path / "runs").exists()


def test_truncated_csv_and_a_label_outside_the_set_name_file_and_line(fedaffect: Fedaffect, tmp_path: Path) -> None:
    folder = tmp_path / "MELD"
    folder.mkdir()
    row = '1,Hi.,Joey,{},positive,{},0,1,1,"00:00:01,000","00:00:02,000"\n'
    for split in ("train", "dev", "test"):
        (folder / f"{split}_sent_emo.csv").write_text(MELD_HEADER + row.format("joy", 0) + row.format("anger", 1))
    train = folder / "train_sent_emo.csv"
    whole = train.read_text()
    # A bundle that is not there is only looked for once the corpus reads: no encoder is built for a broken one.
    command = ("simulate", "--dataset", "meld", "--data-dir", folder)

    train.write_text(whole + "3,Cut off,Jo")
    assert_one_line(fedaffect(*command), "train_sent_emo.csv:4")
    train.write_text(whole + row.format("bored", 2))
    assert_one_line(fedaffect(*command), "train_sent_emo.csv:4", "'bored'", "disgust")
    assert not (tmp_path / "runs").exists()


def test_a_taken_name_is_kept_and_overwriting_waits_for_settings_that_work(
    fedaffect: Fedaffect, mosi: Path, tmp_path: Path
) -> None:
    summary = recorded_run(tmp_path / "runs", "mine", *answers(20, 0.5, 0)) / "summary.json"
    before = summary.read_bytes()
    command = ("simulate", "--dataset", "mosi", "--data-dir", mosi, "--name", "mine")
    assert_one_line(fedaffect(*command), "exists already", "--resume", "--overwrite", "--name")
    assert_one_line(fedaffect(*command, "--overwrite", "--clients-per-round", "99"), "--clients-per-round 99")
    assert summary.read_bytes() == before


def test_debug_shows_the_traceback(fedaffect: Fedaffect) -> None:
    with pytest.raises(Exception, match="'melt'"):
        fedaffect("--debug", "simulate", "--dataset", "melt")
