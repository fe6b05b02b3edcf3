"""Ratings on the server: figures of a split, what chooses a round, and settings that do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.small_cohorts import constructed_cohort

from fedaffect.client.cohort import Cohort
from fedaffect.client.task import ClientTask
from fedaffect.edge.errors import ConfigError
from fedaffect.server.federation.evaluation import evaluate_split
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.federation.stopping import best_record
from fedaffect.server.federation.summary import answers


def test_a_split_has_figures_of_ratings_beside_those_of_classes(tmp_path: Path) -> None:
    plain = Cohort.load(constructed_cohort(tmp_path / "c"))
    rng = np.random.default_rng(0)
    rated = replace(
        plain, rating_names=("valence",), ratings=rng.normal(size=(len(plain.labels), 1)).astype(np.float32)
    )
    task = ClientTask(rated, "linear", {})
    result = evaluate_split(task, task.initial_weights(0), "test")
    assert {"accuracy", "uar", "loss", "valence_ccc", "valence_mae", "ccc", "mae"} <= set(result.figures)
    kept = answers([result], rated)
    assert kept["ratings"].shape == kept["rated"].shape == (len(rated.splits["test"]), 1)
    alone = ClientTask(plain, "linear", {})
    assert "ccc" not in evaluate_split(alone, alone.initial_weights(0), "test").figures


def test_concordance_may_choose_the_round() -> None:
    records: list[dict[str, Any]] = [{"round": n, "dev": {"uar": -n, "ccc": n % 3}} for n in (1, 2, 3)]
    assert best_record(records, "ccc")["round"] == 2
    assert best_record(records, "uar")["round"] == 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"select_by": "ccc"}, "--select-by ccc is of ratings, and none are learned; add --targets class,va"),
        ({"targets": "class,va", "evaluate": "clients"}, "use --evaluate server"),
        ({"targets": "class,va", "cohort_size": 4}, "one client at a time"),
        ({"targets": "va"}, "the class is always learned; give --targets class,va"),
        ({"targets": "class,mood"}, "unknown target 'mood'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        RunSettings.of(dataset="emobank", **given)
    assert RunSettings.of(dataset="emobank", targets="class,vad", select_by="ccc").data.targets == ("class", "vad")
