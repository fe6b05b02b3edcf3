"""Early stopping: a run ends once its rounds no longer get better on the development split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.cohort import Cohort
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.stopping import EarlyStopping

ConfigOf = Callable[..., RunSettings]


def rounds(*figures: float | None) -> list[dict[str, object]]:
    return [{"round": n, "dev": None if f is None else {"uar": f}} for n, f in enumerate(figures, start=1)]


@pytest.mark.parametrize(
    ("figures", "over"),
    [
        ((), False),
        ((None, None, None), False),
        ((0.5, 0.4), False),
        ((0.5, 0.4, 0.4), True),
        ((0.5, 0.4, 0.6), False),
        # As good is no better, and rounds without an evaluation say nothing.
        ((0.5, 0.5, 0.5), True),
        ((0.5, None, None), False),
        ((0.5, None, 0.4), True),
    ],
)
def test_a_run_waits_for_its_patience(figures: tuple[float | None, ...], over: bool) -> None:
    assert bool(EarlyStopping(2, "uar").reason(rounds(*figures))) == over
    assert not EarlyStopping(0, "uar").reason(rounds(*figures))


def test_a_run_that_gets_no_better_ends_and_says_why(cohort_folder: Path, config_of: ConfigOf) -> None:
    # So small a rate that no answer changes: the first round stays the best.
    config = config_of(rounds=8, patience=2, lr=1e-9)
    folder = RunFolder.create(config)
    grid = InProcessGrid(Cohort.load(cohort_folder).num_clients)
    summary = run_federation(grid, config, cohort_folder, folder)
    assert folder.checkpoints.rounds() == [1, 2, 3]
    assert (summary["best_round"], summary["rounds"]) == (1, 3)
    assert summary["stopped_early"] == "no better uar on the development split in 2 rounds after round 1"
    again = run_federation(grid, config, cohort_folder, folder, resume=True)
    assert folder.checkpoints.rounds() == [1, 2, 3]
    assert again["stopped_early"] == summary["stopped_early"]


def test_a_run_that_has_all_its_rounds_says_nothing(cohort_folder: Path, config_of: ConfigOf) -> None:
    config = config_of(rounds=2, patience=2, lr=1e-9)
    grid = InProcessGrid(Cohort.load(cohort_folder).num_clients)
    assert "stopped_early" not in run_federation(grid, config, cohort_folder, RunFolder.create(config))


def test_patience_is_refused_where_nothing_is_chosen(config_of: ConfigOf) -> None:
    with pytest.raises(ConfigError, match="leave --patience out"):
        config_of(mode="local-only", patience=2)
    with pytest.raises(ConfigError, match="leave --patience out"):
        config_of(replay="lines", patience=2)
