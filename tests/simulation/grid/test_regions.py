"""Regions over resident actors: sums of sums of sums, and the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.simulation.grid.conftest import MODEL_OPTIONS

from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.grid import RayGrid

SETTINGS: dict[str, Any] = {
    "dataset": "synthetic",
    "model_options": MODEL_OPTIONS,
    "rounds": 2,
    "clients_per_round": 8,
    "batch_size": 4,
    "lr": 0.05,
    "strategy": "scaffold",
    "optimizer": "sgd",
    "weight_decay": 0.0,
}


def simulate(out: Path, cohort_folder: Path, **settings: Any) -> RunFolder:
    folder = RunFolder.create(RunSettings.of(**{**SETTINGS, "out": out, **settings}))
    with RayGrid(cohort_folder, actors=2, state_folder=folder.client_states) as clients:
        run_federation(clients, folder.config, cohort_folder, folder)
    return folder


@pytest.mark.usefixtures("connected")
def test_regions_over_actors_give_the_arrays_of_flat_aggregation(tmp_path: Path, cohort_folder: Path) -> None:
    flat = simulate(tmp_path, cohort_folder, name="flat")
    regional = simulate(tmp_path, cohort_folder, name="regional", regions=3)
    one, other = flat.checkpoints.load(2), regional.checkpoints.load(2)
    for arrays, theirs in ((one.arrays, other.arrays), (one.state, other.state)):
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    same = ("clients", "failures", "train_loss", "dev", "bytes_up", "bytes_down")
    for line, theirs_too in zip(flat.metrics(), regional.metrics(), strict=True):
        assert {key: line[key] for key in same} == {key: theirs_too[key] for key in same}
