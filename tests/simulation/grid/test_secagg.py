"""Secure aggregation over resident actors: what they remember between messages outlives each of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from flwr.app import Message
from tests.simulation.grid.conftest import MODEL_OPTIONS

from fedaffect.client.wire import SECAGG
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
    "strategy": "scaffold",
    "optimizer": "sgd",
    "weight_decay": 0.0,
}


class Killing(RayGrid):
    """Takes down an actor in the middle of the stage of masked updates."""

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        ids = super().push_messages(messages)
        record = messages[0].content.config_records.get(SECAGG) if messages else None
        if record is not None and record["stage"] == "masked" and not self.replaced_actors:
            ray.kill(self._dispatcher._seats[0].actor)
        return ids


def simulate(out: Path, cohort_folder: Path, grid: type[RayGrid] = RayGrid, **settings: Any) -> tuple[RunFolder, int]:
    folder = RunFolder.create(RunSettings.of(**{**SETTINGS, "out": out, **settings}))
    with grid(cohort_folder, actors=2, state_folder=folder.client_states) as clients:
        run_federation(clients, folder.config, cohort_folder, folder)
        return folder, clients.replaced_actors


@pytest.mark.usefixtures("connected")
def test_plain_aggregations_arrays_within_the_quantisation_whoever_dies(tmp_path: Path, cohort_folder: Path) -> None:
    plain, _ = simulate(tmp_path, cohort_folder, name="plain")
    masked, _ = simulate(tmp_path, cohort_folder, name="masked", secagg=True)
    killed, replaced = simulate(tmp_path, cohort_folder, Killing, name="killed", secagg=True)

    assert replaced == 1
    assert [line["failures"] for line in killed.metrics()] == [0, 0]
    for name, array in plain.checkpoints.load(2).arrays.items():
        ours, again = (folder.checkpoints.load(2).arrays[name] for folder in (masked, killed))
        np.testing.assert_allclose(ours, array, rtol=0, atol=1e-5, err_msg=name)
        # Masks come off without a trace, and a client asked twice masks the same.
        np.testing.assert_array_equal(ours, again, err_msg=name)
    # What clients keep for themselves nobody else on the machine may read.
    secrets = masked.client_states.with_name(f"{masked.client_states.name}-secagg")
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert not (plain.path / "secagg.jsonl").exists()
