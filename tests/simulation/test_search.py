"""A search among settings: trials that get nowhere end early, and a search that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tests.support.small_models import model_folders

from fedaffect.edge.errors import ConfigError, RunError, TrainingError
from fedaffect.server.federation.observer import RoundRecord
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.comparison.compare import sides_of
from fedaffect.simulation.many_runs import run_many
from fedaffect.simulation.recorded_run import SWEEP
from fedaffect.simulation.running import Runner
from fedaffect.simulation.sweep import Axis, plan

optuna = pytest.importorskip("optuna")
search = pytest.importorskip("fedaffect.simulation.search")
SAID = {"Joyful": "i am so happy today", "Sad": "you am sad .", "Neutral": "i am . i am .", "Mad": "you you !"}
ROUNDS = 6


def runner() -> Runner:
    return Runner(Console(quiet=True), quiet=True)


def figures(value: float) -> dict[str, float]:
    return dict.fromkeys(
        ("uar", "accuracy", "macro_f1", "weighted_f1", "macro_precision", "macro_recall", "loss"), value
    )


def rounds_of(runner: Runner, value: float) -> None:
    """A run whose development figure is the same in all rounds, as its observers see it."""
    for number in range(1, ROUNDS + 1):
        record = RoundRecord(number, 1, 0, 0.0, 0.1, figures(value), 1.0, 0, 0, 1.0, 1.0, 1.0, 1.0)
        for observer in runner.observers:
            observer.round_finished(record)


def test_a_trial_that_gets_nowhere_is_ended_early(tmp_path: Path) -> None:
    seen: list[float] = []

    def run_one(watched: Runner, config: RunSettings, title: str) -> Mapping[str, Any]:
        # The higher the rate, the better, up to a point; what comes later is worse.
        value = 0.5 if len(seen) < 5 else 0.1
        seen.append(config.training.lr)
        rounds_of(watched, value)
        return {"dev": figures(value), "test": figures(value), "best_round": 1}

    axes = [Axis.parse("lr=0.001..0.1")]
    outcome = search.search(runner(), {"rounds": ROUNDS}, axes, 8, tmp_path, run_one, lambda _: None)
    assert len(set(seen)) == 8
    assert all(0.001 <= lr <= 0.1 for lr in seen)
    pruned = [entry["name"] for entry in outcome["members"] if entry.get("pruned")]
    assert len(pruned) == 3
    assert outcome["best"]["dev"] == 0.5
    assert outcome["best"]["trials"] == 8
    assert {group["name"] for group in outcome["groups"]}.isdisjoint({name.rpartition(",")[0] for name in pruned})


def test_failures_count_and_are_told(tmp_path: Path) -> None:
    told: list[str] = []

    def run_one(watched: Runner, config: RunSettings, title: str) -> Mapping[str, Any]:
        raise TrainingError("the loss is not a number")

    with pytest.raises(RunError, match="not one of 2 trials finished"):
        search.search(runner(), {}, [Axis.parse("lr=0.1,0.2")], 2, tmp_path, run_one, told.append)
    assert len(told) == 2


def test_a_search_goes_on_with_what_was_under_way(tmp_path: Path) -> None:
    asked: list[str] = []

    def killed(watched: Runner, config: RunSettings, title: str) -> Mapping[str, Any]:
        asked.append(config.run_name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return {"dev": figures(0.3), "test": figures(0.3), "best_round": 1}

    axes = [Axis.parse("lr=0.001..0.1"), Axis.parse("batch-size=4..64"), Axis.parse("loss=cross-entropy,focal")]
    with pytest.raises(KeyboardInterrupt):
        search.search(runner(), {}, axes, 3, tmp_path, killed, lambda _: None)
    outcome = search.search(runner(), {}, axes, 3, tmp_path, killed, lambda _: None)
    # The second trial again, and one more.
    assert asked[2] == asked[1]
    assert len(asked) == 4
    assert outcome["best"]["trials"] == 3
    assert len({entry["name"] for entry in outcome["members"]}) == 3


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    torch.set_num_threads(1)
    corpus = tmp_path / "emorynlp"
    corpus.mkdir()
    for split, times in (("train", 4), ("dev", 2), ("test", 2)):
        rows = ["Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode"]
        for n, (emotion, words) in enumerate(list(SAID.items()) * times):
            rows.append(f"{words},\"['Monica']\",{emotion},{n % 3},{n},1,1")
        (corpus / f"emorynlp_{split}_final.csv").write_text("\n".join(rows) + "\n")
    bert = model_folders(tmp_path / "models", layers=2, channels=16)("bert")
    small = {"dataset": "emorynlp", "data_dir": corpus, "text": str(bert), "mode": "fine-tuned", "batch_size": 8}
    return {**small, "rounds": 3, "patience": 0, "out": tmp_path / "runs", "name": "found"}


def test_real_runs_are_searched_compared_and_taken_as_they_are(settings: dict[str, Any], tmp_path: Path) -> None:
    axes = [Axis.parse("encoder-lr=0.00001..0.01"), Axis.parse("lr=0.001,0.01")]
    folder, outcome = run_many(runner(), settings, axes, None, False, lambda _: None, trials=3)
    assert json.loads((folder / SWEEP).read_text())["best"] == outcome["best"]
    runs = {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("*/summary.json")}
    assert outcome["best"]["name"] in runs
    assert outcome["best"]["dev"] == max(entry["dev"]["weighted_f1"] for entry in outcome["members"] if "dev" in entry)
    assert {side.name for side in sides_of(folder)} == {name.rpartition(",")[0] for name in runs}
    _, more = run_many(runner(), settings, axes, None, False, lambda _: None, trials=4)
    assert more["best"]["trials"] == 4
    for name, made in runs.items():
        assert (folder / name / "summary.json").stat().st_mtime_ns == made


def test_ranges_and_searches_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--trials 20"):
        plan({}, [Axis.parse("lr=0.001..0.1")], (0,), tmp_path)
    for wrong in ("lr=0.1..0.001", "lr=0.1..x", "lr=0.001..0.1,0.2"):
        with pytest.raises(ConfigError, match="one range from low to high"):
            _ = Axis.parse(wrong).bounds
    with pytest.raises(ConfigError, match="no --local-only"):
        search.search(
            runner(), {"mode": "local-only"}, [Axis.parse("lr=0.1,0.2")], 2, tmp_path, lambda *_: {}, lambda _: None
        )
