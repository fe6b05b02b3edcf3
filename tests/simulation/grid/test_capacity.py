from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest
import ray
from tests.simulation.grid.conftest import CLIENTS, Messages, same_sum, total_of

from fedaffect.client.task import ClientTask
from fedaffect.simulation.grid import RayGrid
from fedaffect.simulation.grid.capacity import actors_on


@pytest.mark.parametrize(
    ("resources", "cpus", "gpus", "fit"),
    [
        ({"CPU": 4.0}, 1.0, 0.0, 4),
        ({"CPU": 4.0}, 0.5, 0.0, 8),
        ({"CPU": 8.0, "GPU": 1.0}, 1.0, 0.1, 8),
        ({"CPU": 8.0, "GPU": 1.0}, 1.0, 0.3, 3),
        # Ray cuts each device for itself: 0.4 fits twice into each, and not a fifth time into what is left of both.
        ({"CPU": 8.0, "GPU": 2.0}, 1.0, 0.4, 4),
        ({"CPU": 8.0, "GPU": 2.0}, 1.0, 0.6, 2),
        ({"CPU": 8.0, "GPU": 3.0}, 1.0, 2.0, 1),
        ({"CPU": 8.0}, 1.0, 0.5, 0),
        ({"GPU": 1.0}, 1.0, 0.5, 0),
    ],
)
def test_room_on_a_machine(resources: dict[str, float], cpus: float, gpus: float, fit: int) -> None:
    assert actors_on(resources, cpus, gpus) == fit


@ray.remote(num_cpus=0)
class Occupied:
    """Stands for another run."""


def test_a_second_run_waits_and_says_what_for(
    connected: None,
    cohort_folder: Path,
    messages: Messages,
    task: ClientTask,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fedaffect.simulation.grid.capacity._FIRST_WORD_S", 0.1)
    with RayGrid(cohort_folder, actors=1) as alone:
        expected = total_of(task.layout, list(alone.stream(messages(partial=True))))
    others = [Occupied.options(num_cpus=4).remote()]
    ray.get(others[0].__ray_ready__.remote())
    free = ray.available_resources
    while free().get("CPU", 0.0):
        time.sleep(0.05)

    def end_when_somebody_waits() -> None:
        while not any("waiting for Ray" in record.message for record in caplog.records):
            time.sleep(0.05)
        ray.kill(others[0])

    ender = threading.Thread(target=end_when_somebody_waits)
    ender.start()
    with caplog.at_level(logging.WARNING), RayGrid(cohort_folder, actors=2) as grid:
        replies = list(grid.stream(messages(partial=True)))
    ender.join()
    assert len(replies) == CLIENTS
    assert same_sum(total_of(task.layout, replies), expected)
    word = next(record.message for record in caplog.records if "waiting for Ray" in record.message)
    assert "a worker needs 1 CPU, and 0 of 4 CPUs are free" in word


def test_a_run_works_with_what_is_free(
    connected: None, cohort_folder: Path, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedaffect.simulation.grid.workforce._OTHERS_S", 0.5)
    other = Occupied.options(num_cpus=3).remote()
    ray.get(other.__ray_ready__.remote())
    with RayGrid(cohort_folder, actors=3) as grid:
        assert len(list(grid.stream(messages(partial=True)))) == CLIENTS
        assert (grid._dispatcher.ready, grid._dispatcher.actors) == (1, 3)
    ray.kill(other)
