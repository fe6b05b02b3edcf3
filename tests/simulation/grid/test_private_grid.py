"""Privacy runs unchanged through resident actors, alone and beside secure aggregation and compression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.serverapp import Grid
from tests.simulation.grid.conftest import CLIENTS, MODEL_OPTIONS
from tests.support.in_process_grid import InProcessGrid

from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.grid import RayGrid

SETTINGS: dict[str, Any] = {
    "dataset": "synthetic",
    "model_options": MODEL_OPTIONS,
    "rounds": 2,
    "clients_per_round": 5,
    "batch_size": 4,
    "lr": 0.05,
    "optimizer": "sgd",
    "weight_decay": 0.0,
    "epsilon": 8.0,
    "dp_noise": "seeded",
}


def run(grid: Grid, folder: RunFolder, cohort_folder: Path) -> RunFolder:
    run_federation(grid, folder.config, cohort_folder, folder)
    return folder


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("kind", ["local", "central"])
def test_actors_give_the_arrays_of_flowers_client(tmp_path: Path, cohort_folder: Path, kind: str) -> None:
    made = {}
    for name in ("ray", "in-process"):
        folder = RunFolder.create(RunSettings.of(**{**SETTINGS, "dp": kind, "out": tmp_path, "name": name}))
        if name == "ray":
            with RayGrid(cohort_folder, actors=2, state_folder=folder.client_states) as grid:
                made[name] = run(grid, folder, cohort_folder)
        else:
            made[name] = run(InProcessGrid(CLIENTS), folder, cohort_folder)
    theirs = made["in-process"].checkpoints.load(2).arrays
    for name, array in made["ray"].checkpoints.load(2).arrays.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    assert made["ray"].summary()["privacy"] == made["in-process"].summary()["privacy"]


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("kind", ["local", "central"])
def test_masked_and_compressed_rounds_keep_the_promise(tmp_path: Path, cohort_folder: Path, kind: str) -> None:
    config = RunSettings.of(
        **{**SETTINGS, "dp": kind, "out": tmp_path, "name": kind, "dp_noise": "secure", "clients_per_round": 8},
        secagg=True,
        compression="int8",
        clip_norm=0.5,
        **({"dp_sampling": "in-turn", "secagg_max_weight": 1} if kind == "central" else {}),
    )
    folder = RunFolder.create(config)
    with RayGrid(cohort_folder, actors=2, state_folder=folder.client_states) as grid:
        run(grid, folder, cohort_folder)
    privacy = folder.summary()["privacy"]
    assert privacy["private"] is True
    assert 7.5 < privacy["epsilon"] <= 8.0
    assert [line["failures"] for line in folder.metrics()] == [0, 0]
