"""Runs whose process is killed at random instants end with the arrays of one that never was."""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.in_process_grid import InProcessGrid
from tests.support.small_cohorts import constructed_cohort

from fedaffect.server.federation.run_folder import CONFIG, SUMMARY, RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.attacks.poisoning import poisoned
from fedaffect.simulation.engines import Simulation

CLIENTS, ROUNDS, KILLS = 8, 6, 4

LATE = {"clients_per_round": 5, "over_selection": 1.5, "deadline_s": 40.0}
ATTACK = {"attack": "sign-flip", "attackers": 0.25, "strategy": "centred-clipping"}
SETTINGS: dict[str, dict[str, Any]] = {
    "server-momentum": {"clients_per_round": 4, "strategy": "fedavgm", "keep_checkpoints": "last"},
    "attacked-and-late": {**LATE, **ATTACK},
    "async": {"mode": "async", "buffer_size": 3, "concurrency": 5, "keep_checkpoints": "last"},
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return constructed_cohort(
        tmp_path_factory.mktemp("killed") / "cohort", clients=CLIENTS, examples=8, widths={"text": 8}
    )


def config_of(out: Path, name: str, settings: dict[str, Any]) -> RunSettings:
    small = {"model_options": {"width": 16, "heads": 2, "feedforward": 32}, "batch_size": 8, "lr_schedule": "constant"}
    return RunSettings.of(**{**small, "rounds": ROUNDS, "out": out, "name": name, **settings})


def carry_on(config: RunSettings, cohort: Path) -> None:
    """Begin, or go on where the folder says that the run stands."""
    torch.set_num_threads(1)
    begun = (config.output.out / config.run_name / CONFIG).is_file()
    folder = RunFolder.open(config.output.out / config.run_name) if begun else RunFolder.create(config, overwrite=True)
    Simulation(config, poisoned(cohort, config), folder, resume=begun).over(InProcessGrid(CLIENTS))


def in_a_child(config: RunSettings, cohort: Path, kill_after_s: float | None) -> int:
    """Carry on in a process of its own, which is killed after some time, or before its last round; its exit status."""
    # What other tests left is collected here: its threads, which its destructors wait for, are in no child.
    gc.collect()
    gc.freeze()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            carry_on(config, cohort)
            status = 0
        finally:
            # Nothing of the test's own process may run a second time.
            os._exit(status)
    if kill_after_s is not None:
        until = time.monotonic() + kill_after_s
        checkpoints = config.output.out / config.run_name / "checkpoints"
        # The machine may have more time for it than for the whole run before.
        while time.monotonic() < until and not list(checkpoints.glob(f"round-*{ROUNDS - 1}.safetensors")):
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def last_round(folder: Path) -> dict[str, bytes]:
    checkpoint = RunFolder.open(folder).checkpoints.load(ROUNDS)
    return {name: array.tobytes() for name, array in checkpoint.arrays.items()}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_run_killed_again_and_again_ends_with_the_same_arrays(tmp_path: Path, cohort: Path, kind: str) -> None:
    whole, parts = (config_of(tmp_path, name, SETTINGS[kind]) for name in ("whole", "parts"))
    began = time.monotonic()
    assert in_a_child(whole, cohort, None) == 0
    whole_s = time.monotonic() - began

    generator = random.Random(kind)
    killed, stood = 0, []
    for _ in range(KILLS):
        status = in_a_child(parts, cohort, generator.uniform(0.1, 0.7) * whole_s)
        killed += status == -signal.SIGKILL
        path = tmp_path / "parts"
        if (path / CONFIG).is_file():
            stood.append(max(RunFolder.open(path).checkpoints.rounds(), default=0))
    assert in_a_child(parts, cohort, None) == 0
    assert killed >= 1
    # No finished round was ever lost.
    assert stood == sorted(stood)
    assert last_round(tmp_path / "parts") == last_round(tmp_path / "whole")
    ours, theirs = (RunFolder.open(tmp_path / name) for name in ("parts", "whole"))
    assert [line["round"] for line in ours.metrics()] == list(range(1, ROUNDS + 1))
    for one, other in zip(ours.metrics(), theirs.metrics(), strict=True):
        assert (one["dev"], one["simulated"], one["clients"]) == (other["dev"], other["simulated"], other["clients"])
    assert ours.summary()["test"] == theirs.summary()["test"]
    assert (ours.path / SUMMARY).is_file()
