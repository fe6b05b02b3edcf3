"""A small constructed cohort and the settings of runs over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.small_cohorts import constructed_cohort

from fedaffect.server.federation.settings import RunSettings

CLIENTS = 6


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(tmp_path_factory.mktemp("server") / "cohort", clients=CLIENTS, examples=16)


@pytest.fixture
def config_of(tmp_path: Path) -> Callable[..., RunSettings]:
    def make(**settings: Any) -> RunSettings:
        small = {
            "model_options": {"width": 16, "heads": 2, "feedforward": 32},
            "rounds": 4,
            "clients_per_round": 3,
            "batch_size": 8,
            "optimizer": "sgd",
            "lr": 0.05,
            "lr_schedule": "constant",
            "weight_decay": 0.0,
            "out": tmp_path / "runs",
            "name": "run",
        }
        return RunSettings.of(**{**small, **settings})

    return make
