"""Personal layers on Ray's actors: kept in files between rounds, out of partial sums and replies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.grid import RayGrid


@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize(
    "settings", [{"strategy": "fedper"}, {"strategy": "ditto"}, {"strategy": "fedper", "norm_bound": 100.0}], ids=str
)
def test_ray_gives_the_arrays_and_figures_of_one_process(
    tmp_path: Path, cohort_folder: Path, settings: dict[str, Any]
) -> None:
    common = {
        "model_options": {"width": 16, "heads": 2, "feedforward": 32},
        "rounds": 3,
        "clients_per_round": 3,
        "batch_size": 4,
        "lr": 0.01,
        "out": tmp_path,
    }
    one = RunFolder.create(RunSettings.of(**{**common, **settings, "name": "one"}))
    grid = InProcessGrid(Cohort.load(cohort_folder).num_clients)
    run_federation(grid, one.config, cohort_folder, one)
    other = RunFolder.create(RunSettings.of(**{**common, **settings, "name": "ray"}))
    with RayGrid(cohort_folder, actors=2, state_folder=other.client_states) as clients:
        run_federation(clients, other.config, cohort_folder, other)
    for number in (1, 2, 3):
        ours, theirs = one.checkpoints.load(number).arrays, other.checkpoints.load(number).arrays
        assert {name: a.tobytes() for name, a in ours.items()} == {name: a.tobytes() for name, a in theirs.items()}
    assert one.summary()["on_clients"] == other.summary()["on_clients"]
    assert one.summary()["on_clients"]["personal"]["figures"]
