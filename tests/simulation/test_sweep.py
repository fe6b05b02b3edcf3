from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import ConfigError, RunError, TrainingError
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.sweep import Axis, plan, read_value, run_sweep


def test_every_combination_with_every_seed(tmp_path: Path) -> None:
    axes = [
        Axis.parse("lr=0.1,0.01"),
        Axis.parse("strategy-options.server-lr=1,2"),
        Axis.parse("modalities=text,text+audio"),
    ]
    members = plan({"strategy": "fedavgm", "strategy_options": {"momentum": 0.5}}, axes, (0, 3), tmp_path)
    assert len(members) == 16
    assert len({m.name for m in members}) == 16
    last = members[-1]
    assert last.config.training.lr == 0.01
    assert last.config.federation.strategy_options == {"momentum": 0.5, "server-lr": 2}
    assert last.config.data.modalities == ("text", "audio")
    assert (last.config.federation.seed, last.config.output.out) == (3, tmp_path)
    assert last.group == "lr=0.01,strategy-options.server-lr=2,modalities=text+audio"


def test_settings_left_out_suit_each_member(tmp_path: Path) -> None:
    """A sweep over strategies must not carry one strategy's optimiser into another's runs."""
    members = plan({}, [Axis.parse("strategy=fedavg,scaffold")], (0,), tmp_path)
    assert [m.config.training.optimizer for m in members] == ["adamw", "sgd"]


def test_a_combination_that_is_no_run_is_refused_before_any_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--lr"):
        plan({}, [Axis.parse("lr=0.1,-1")], (0,), tmp_path)


@pytest.mark.parametrize("text", ["lrr=1,2", "lr", "lr=", "lr=1,1", "lr.x=1", "name=a,b", "strategy-options=1"])
def test_axes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        Axis.parse(text)


def test_values_are_read_as_what_they_look_like() -> None:
    assert [read_value(v) for v in ("3", "0.5", "1e-3", "true", "iid:10")] == [3, 0.5, 1e-3, True, "iid:10"]


def test_a_member_that_fails_is_told_and_the_rest_go_on(tmp_path: Path) -> None:
    members = plan({}, [Axis.parse("lr=0.1,0.2")], (0, 1), tmp_path)
    told: list[str] = []

    def run_one(config: RunSettings, title: str) -> Mapping[str, Any]:
        if config.training.lr == 0.2 and config.federation.seed == 1:
            raise TrainingError("the loss is not a number")
        return {
            "test": dict.fromkeys(FIGURES, 0.5 + 0.1 * config.federation.seed),
            "best_round": 1,
        }

    outcome = run_sweep(members, tmp_path, run_one, told.append)
    assert json.loads((tmp_path / "sweep.json").read_text()) == outcome
    one, other = outcome["groups"]
    assert one["test"]["uar"]["mean"] == pytest.approx(0.55)
    assert one["test"]["uar"]["std"] == pytest.approx(0.0707, abs=1e-4)
    assert (other["seeds"], other["failed"], other["test"]["uar"]["std"]) == ([0], [1], None)
    assert told == ["lr=0.2,seed=1 failed: the loss is not a number"]


def test_a_sweep_of_which_nothing_finished_is_an_error(tmp_path: Path) -> None:
    def run_one(config: RunSettings, title: str) -> Mapping[str, Any]:
        raise TrainingError("no client answered")

    with pytest.raises(RunError, match="not one of 2 runs finished; the first said: no client answered"):
        run_sweep(plan({}, [], (0, 1), tmp_path), tmp_path, run_one, lambda _: None)
