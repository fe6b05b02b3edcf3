"""``fedaffect simulate`` end to end on a tiny corpus."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.simulation.cli.conftest import Fedaffect

from fedaffect.client.figures import FIGURES
from fedaffect.simulation.cli.simulate import _request
from fedaffect.simulation.cli.simulate import simulate as simulate_command

FIXED_KEYS = {
    *("dataset", "labels", "modalities", "partition", "clients", "rounds", "model", "strategy", "seed", "engine"),
    *("trainable_parameters", "test", "best_round", "client_updates_per_second", "bytes_up_per_client_update"),
    *("bytes_down_per_client_update", "peak_rss_mb", "wall_s"),
}


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def test_a_run_learns_and_leaves_everything_a_person_needs(simulate_on_ray: Fedaffect, tmp_path: Path) -> None:
    done = simulate_on_ray("--rounds", "6", "--name", "first")

    assert done.code == 0, done.err
    run = tmp_path / "runs" / "first"
    summary = summary_of(run)
    assert summary.keys() >= FIXED_KEYS
    assert summary["test"].keys() >= set(FIGURES)
    assert list(summary["test_by_modality"]) == [*summary["modalities"], "fused"]
    assert summary["test_by_modality"]["fused"]["uar"] == summary["test"]["uar"]
    assert (
        f"text alone  UAR {summary['test_by_modality']['text']['uar']:.3f}".split()
        == re.findall(r"text alone.*?UAR [\d.]+", done.out)[0].split()
    )
    assert summary["test"]["uar"] > 0.75  # two classes, whose vectors differ
    assert (summary["dataset"], summary["clients"], summary["rounds"]) == ("mosi", 10, 6)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 6
    for name in ("config.toml", "predictions.npz", "partition.json", "report.html"):
        assert (run / name).stat().st_size > 0, name
    assert "report.html" in done.out
    assert f"UAR {summary['test']['uar']:.3f}" in done.out
    # Not a terminal: a few plain lines, no control codes.
    assert "round 6/6" in done.err
    assert "\x1b" not in done.err + done.out


def test_config_file_takes_the_same_keys_and_flags_go_before_it(simulate: Fedaffect, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'rounds = 3\nname = "from-file"\nlocal-epochs = 2\n[strategy-options]\nserver-lr = 0.5\n'
    )
    done = simulate(
        *("--config", "mine.toml", "--rounds", "1", "--quiet"),
        *("--strategy", "fedavgm", "--strategy-option", "momentum=0.5"),
    )
    assert (done.out, done.err) == ("", "")
    assert done.code == 0
    written = (tmp_path / "runs" / "from-file" / "config.toml").read_text()
    assert "rounds = 1\n" in written
    assert "local-epochs = 2\n" in written
    assert "server-lr = 0.5\n" in written
    assert "momentum = 0.5\n" in written


def test_resume_goes_on_to_the_same_arrays(simulate_on_ray: Fedaffect, fedaffect: Fedaffect, tmp_path: Path) -> None:
    assert simulate_on_ray("--rounds", "4", "--name", "whole", "--lr-schedule", "constant").code == 0
    assert simulate_on_ray("--rounds", "2", "--name", "parts", "--lr-schedule", "constant").code == 0
    runs = tmp_path / "runs"

    other = fedaffect("simulate", "--resume", runs / "parts", "--lr", "0.5", "--seed", "7")
    assert other.code == 2
    assert "--lr: 0.01, 0.5" in other.err
    assert "--seed: 0, 7" in other.err
    assert other.err.count("\n") == 1

    done = fedaffect("simulate", "--resume", runs / "parts", "--rounds", "4")
    assert done.code == 0, done.err
    last = "checkpoints/round-00004.safetensors"
    one, two = load_file(runs / "whole" / last), load_file(runs / "parts" / last)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert summary_of(runs / "parts")["test"] == summary_of(runs / "whole")["test"]


def test_asynchronous_versions_over_actors_resume_to_the_same_arrays(
    simulate_on_ray: Fedaffect, fedaffect: Fedaffect, tmp_path: Path
) -> None:
    flags = ("--mode", "async", "--buffer-size", "3", "--concurrency", "5", "--lr-schedule", "constant")
    for name, rounds in (("whole", 4), ("parts", 2)):
        done = simulate_on_ray(*flags, "--rounds", rounds, "--name", name)
        assert done.code == 0, done.err
    done = fedaffect("simulate", "--resume", "runs/parts", "--rounds", "4")
    assert done.code == 0, done.err
    runs = tmp_path / "runs"
    last = "checkpoints/round-00004.safetensors"
    one, two = load_file(runs / "whole" / last), load_file(runs / "parts" / last)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    lines = [json.loads(line) for line in (runs / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["clients"] for line in lines] == [3] * 4
    assert lines[-1]["simulated"]["ends_s"] > lines[0]["simulated"]["ends_s"] > 0
    assert json.loads((runs / "whole" / "summary.json").read_text())["trace"]["name"] == "devices"


def test_bounds_write_the_same_keys(simulate: Fedaffect, tmp_path: Path) -> None:
    assert simulate("--rounds", "3", "--name", "upper", "--centralized").code == 0
    assert simulate("--rounds", "1", "--name", "lower", "--local-only").code == 0
    upper, lower = (summary_of(tmp_path / "runs" / name) for name in ("upper", "lower"))
    assert upper.keys() >= FIXED_KEYS
    assert lower.keys() >= FIXED_KEYS
    assert (upper["mode"], upper["clients"]) == ("centralized", 1)
    assert upper["partition"] == "natural"
    assert (lower["mode"], lower["clients"]) == ("local-only", 10)
    assert len(lower["test"]["owners"]["each"]) == 10
    assert 0 <= lower["test"]["uar"] < upper["test"]["uar"]
    assert (tmp_path / "runs" / "lower" / "report.html").is_file()


def test_folds_give_means_and_a_list_and_go_on_where_they_stopped(
    simulate: Fedaffect, fedaffect: Fedaffect, tmp_path: Path
) -> None:
    assert simulate("--rounds", "2", "--name", "crossed", "--folds", "3").code == 0
    run = tmp_path / "runs" / "crossed"
    summary = summary_of(run)
    assert summary.keys() >= FIXED_KEYS
    folds = [summary_of(run / f"fold-{k}") for k in (1, 2, 3)]
    assert [fold["fold"] for fold in summary["folds"]] == [1, 2, 3]
    for figure in FIGURES:
        values = [fold["test"][figure] for fold in folds]
        assert summary["test"][figure] == pytest.approx(np.mean(values))
        assert summary["test_std"][figure] == pytest.approx(np.std(values))
    pooled = np.sum([fold["test"]["confusion"] for fold in folds], axis=0)
    assert summary["test"]["confusion"] == pooled.tolist()
    assert pooled.sum() == 240  # every sample is tested once
    # However wide the terminal is.
    shown = " ".join(fedaffect("runs", "show", "crossed").out.split())
    for key in ("macro_precision", "macro_recall", "loss"):
        assert f"{FIGURES[key]} {summary['test'][key]:.3f} ± {summary['test_std'][key]:.3f}" in shown
    alone = [fold["test_by_modality"]["audio"]["loss"] for fold in folds]
    assert summary["test_by_modality"]["audio"]["loss"] == pytest.approx(np.mean(alone))
    assert summary["test_by_modality"]["audio"]["examples"] == 240

    kept = (run / "fold-1" / "summary.json").stat().st_mtime_ns
    shutil.rmtree(run / "fold-3")
    (run / "summary.json").unlink()
    done = fedaffect("simulate", "--resume", run)
    assert done.code == 0, done.err
    assert (run / "fold-1" / "summary.json").stat().st_mtime_ns == kept
    assert summary_of(run)["test"] == summary["test"]


def test_retraining_with_dev_runs_the_chosen_rounds_on_more_data(simulate: Fedaffect, tmp_path: Path) -> None:
    assert simulate("--rounds", "3", "--name", "again", "--retrain-with-dev").code == 0
    run = tmp_path / "runs" / "again"
    chosen, summary = summary_of(run / "choosing"), summary_of(run)
    assert summary["rounds"] == summary["best_round"] == chosen["best_round"]
    assert (chosen["clients"], summary["clients"]) == (10, 12)  # the held-out videos came back
    assert summary["dev"] is None
    assert summary["choosing"]["test"] == chosen["test"]
    assert (run / "report.html").is_file()


def test_sweep_gives_means_over_seeds_and_survives_a_member_that_fails(
    simulate: Fedaffect, fedaffect: Fedaffect, tmp_path: Path
) -> None:
    base = ("--rounds", "1", "--optimizer", "sgd", "--name", "lr")
    assert simulate(*base, "--sweep", "lr=0.1,1e30", "--seeds", "0").code == 0
    kept = (tmp_path / "runs/lr/lr=0.1,seed=0/summary.json").stat().st_mtime_ns
    done = simulate(*base, "--sweep", "lr=0.1", "--seeds", "0,1")
    assert done.code == 0, done.err
    assert (tmp_path / "runs/lr/lr=0.1,seed=0/summary.json").stat().st_mtime_ns == kept  # finished: not run again
    good = json.loads((tmp_path / "runs/lr/sweep.json").read_text())["groups"][0]
    assert (good["seeds"], good["failed"]) == ([0, 1], [])
    values = [summary_of(tmp_path / f"runs/lr/lr=0.1,seed={s}")["test"]["uar"] for s in (0, 1)]
    assert good["test"]["uar"]["mean"] == pytest.approx(np.mean(values))
    assert good["test"]["uar"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert "±" in done.out


def test_bounds_stand_in_a_config_file_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("centralized = false\nlocal-only = true\n")
    flags = {parameter.name: None for parameter in simulate_command.params}
    given = {"config": file, "sweep": (), "model_options": (), "strategy_options": (), "overwrite": False}
    assert _request({**flags, **given}).settings == {"mode": "local-only"}
    # A flag goes before the file.
    assert _request({**flags, **given, "centralized": True}).settings == {"mode": "centralized"}
