from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from tests.support.constructed_cohort import constructed_cohort

from fedaffect.edge.errors import RunError, TrainingError
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.engines import run

SETTINGS = {
    "dataset": "synthetic",
    "model_options": {"width": 16, "heads": 2, "feedforward": 32},
    "rounds": 2,
    "clients_per_round": 2,
    "batch_size": 4,
    "lr": 0.05,
    "actors": 1,
}


@pytest.fixture(scope="module")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines") / "cohort"
    return constructed_cohort(folder, clients=3, examples=(6, 12), tokens={"text": 3, "audio": 2}, width=12)


@pytest.fixture(autouse=True)
def _own_ray() -> Iterator[None]:
    """These tests start Ray themselves, and Ray lets the garbage collector close its files and processes."""
    assert not ray.is_initialized()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        assert not ray.is_initialized()
        gc.collect()


def simulate(folder: Path, cohort_folder: Path, **settings: object) -> RunFolder:
    config = RunSettings.of(**{**SETTINGS, "out": folder, **settings})  # type: ignore[arg-type]
    run_folder = RunFolder.create(config)
    run(config, cohort_folder, run_folder)
    return run_folder


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_both_engines_give_the_same_arrays(tmp_path: Path, cohort_folder: Path) -> None:
    # Tolerance 0: updates are pure functions on one thread, and sums are whole numbers.
    on_ray = simulate(tmp_path, cohort_folder, strategy="scaffold", optimizer="sgd", weight_decay=0.0, name="ray")
    on_flower = simulate(
        tmp_path, cohort_folder, strategy="scaffold", optimizer="sgd", weight_decay=0.0, name="flower", engine="flower"
    )

    one, other = on_ray.checkpoints.load(2), on_flower.checkpoints.load(2)
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)
    for name, array in one.state.items():
        np.testing.assert_array_equal(array, other.state[name], err_msg=name)
    timeless = {"train_loss", "dev", "clients", "bytes_up", "bytes_down"}
    for line, line_of_other in zip(on_ray.metrics(), on_flower.metrics(), strict=True):
        assert {k: line[k] for k in timeless} == {k: line_of_other[k] for k in timeless}
    assert logging.getLogger("flwr").level != logging.CRITICAL
    # Under secure aggregation what a client remembers between its messages is in Flower's context.
    masked = simulate(tmp_path, cohort_folder, strategy="scaffold", optimizer="sgd", weight_decay=0.0, name="masked",
                      engine="flower", secagg=True)  # fmt: skip
    for name, array in masked.checkpoints.load(2).arrays.items():
        np.testing.assert_allclose(array, one.arrays[name], rtol=0, atol=1e-5, err_msg=name)
    assert [line["failures"] for line in masked.metrics()] == [0, 0]
    with pytest.raises(RunError, match="only --engine ray reads"):
        run(on_flower.config, cohort_folder, _with_states_of(on_ray, on_flower), resume=True)


def _with_states_of(on_ray: RunFolder, on_flower: RunFolder) -> RunFolder:
    assert on_ray.client_states.is_dir()
    on_flower.client_states.mkdir()
    return on_flower


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_an_error_of_the_server_comes_through_flowers_thread(tmp_path: Path, cohort_folder: Path) -> None:
    with pytest.raises(TrainingError, match="lower --lr"):
        simulate(tmp_path, cohort_folder, engine="flower", lr=1e30, local_epochs=3)
    assert not any(tmp_path.iterdir())
