"""A Ray cluster of machines that share no file: arrays of one machine, whoever joins and leaves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.simulation.test_prepare import write_bundle
from tests.support.cluster_run import digest_of, small_cohort
from tests.support.hosts import HEAD, PORT, REPOSITORY, Host, Network, listing, network, start_ray
from tests.support.in_process_grid import InProcessGrid
from tests.support.whole_systems import takes_minutes

from fedaffect.client.cohort import Cohort
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.prepare import prepare

pytestmark = [pytest.mark.slow, pytest.mark.ray]

SMALL = {"model_options": {"width": 16, "heads": 2, "feedforward": 32}, "batch_size": 4, "lr": 0.05}
# Clients keep a control variate from round to round.
SCAFFOLD = {
    **SMALL,
    "strategy": "scaffold",
    "optimizer": "sgd",
    "weight_decay": 0.0,
    "rounds": 5,
    "clients_per_round": 10,
}
# Ray takes half a minute to miss a machine unless it is told to look more often.
LOOK_OFTEN = {"RAY_health_check_initial_delay_ms": "1000", "RAY_health_check_period_ms": "500",
              "RAY_health_check_timeout_ms": "2000", "RAY_health_check_failure_threshold": "5"}  # fmt: skip


@pytest.fixture(scope="module")
def machines() -> Iterator[Network]:
    with network() as made:
        start_ray(made.hosts[0], *HEAD, **LOOK_OFTEN)
        yield made


def join(machines: Network) -> Host:
    host = machines.host()
    start_ray(host, f"--address={machines.hosts[0].address}:{PORT}", **LOOK_OFTEN)
    return host


class Run:
    """A run on the first machine, steered."""

    def __init__(self, machines: Network, cohort: str = "/tmp/data/cohort", **settings: Any) -> None:
        first = machines.hosts[0]
        arguments = (f"{first.address}:{PORT}", json.dumps(settings), cohort)
        self.process: subprocess.Popen[str] = first.start("-m", "tests.support.cluster_run", *arguments)
        self.other: list[str] = []

    def hear(self) -> dict[str, Any]:
        """The next line of JSON."""
        for line in self.process.stdout or ():
            if line.startswith("{"):
                said: dict[str, Any] = json.loads(line)
                return said
            self.other.append(line)
        raise AssertionError("".join(self.other))

    def tell(self, line: str = "go") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")

    def to_all_workers(self) -> dict[str, Any]:
        """What it says once every worker has started or failed to."""
        said = self.hear()
        if "round" in said:
            # Those of the first machine were done before others had tried.
            self.tell("gather")
            said = self.hear()
        return said

    def to_its_end(self) -> dict[str, Any]:
        """What it says last."""
        while "round" in (said := self.hear()):
            self.tell()
        self.process.communicate()
        return said


def alone(folder: Path, cohort: Path | None = None, **settings: Any) -> str:
    """Digest of the run in one process."""
    torch.set_num_threads(1)
    cohort = cohort or small_cohort(folder / "cohort")
    run = RunFolder.create(RunSettings.of(**settings, out=folder, name="alone"))
    run_federation(InProcessGrid(Cohort.load(cohort).num_clients), run.config, cohort, run)
    return digest_of(run, run.config.federation.rounds)


@takes_minutes
def test_machines_that_join_and_leave_give_the_arrays_of_one(machines: Network, tmp_path: Path) -> None:
    first = machines.hosts[0].address
    second = join(machines)
    run = Run(machines, **SCAFFOLD, name="together")
    assert run.hear() | {"answers": None} == {"round": 1, "failures": 0, "answers": None}
    run.tell()
    said = run.hear()
    assert said["answers"].keys() == {first, second.address}
    # Its workers are there and get their share of the round, which nobody answers.
    second.die()
    run.tell()
    assert run.hear()["round"] == 3
    third = join(machines)
    run.tell("gather")
    assert run.hear() == {"gathered": 2}
    end = run.to_its_end() if run.tell() is None else {}
    assert end["answers"][third.address] > 0
    assert (end["failures"], end["digest"]) == (0, alone(tmp_path, **SCAFFOLD))
    assert end["replaced"] >= 1
    # Who sees the files uses them in place; who does not fetched them once.
    fetched = [listing(host, "/tmp/cache/cohorts-from-elsewhere") for host in (machines.hosts[0], third)]
    assert [len(names) for names in fetched] == [0, 1]
    third.die()


def test_clients_of_a_secure_sum_keep_their_secrets_wherever_they_are_asked(machines: Network, tmp_path: Path) -> None:
    settings = {**SMALL, "rounds": 2, "clients_per_round": 6, "secagg": True}
    other = join(machines)
    end = Run(machines, **settings, name="masked").to_its_end()
    assert end["answers"].keys() == {machines.hosts[0].address, other.address}
    assert (end["failures"], end["digest"]) == (0, alone(tmp_path, **settings))
    other.die()


def test_a_machine_with_other_code_is_one_clear_error(machines: Network) -> None:
    host = machines.host()
    here = REPOSITORY / "client/fedaffect/client/wire.py"
    host.cover(here, here.read_text() + "# Of another version.\n")
    start_ray(host, f"--address={machines.hosts[0].address}:{PORT}", **LOOK_OFTEN)
    said = Run(machines, **SMALL, rounds=2, name="other-code").to_all_workers()
    host.die()
    assert f"the Ray node {host.address} runs fedaffect" in said["error"]
    assert said["error"].endswith("install there what runs here")


def test_a_machine_without_our_code_is_one_clear_error(machines: Network) -> None:
    host = machines.host()
    host.cover(REPOSITORY / "simulation/fedaffect/simulation/grid/worker.py", "import fedaffect_is_not_here\n")
    start_ray(host, f"--address={machines.hosts[0].address}:{PORT}", **LOOK_OFTEN)
    said = Run(machines, **SMALL, rounds=2, name="no-code").to_all_workers()
    host.die()
    assert "No module named 'fedaffect_is_not_here'; install on every node what runs here" in said["error"]


def test_meld_on_two_machines_gives_the_arrays_of_one(
    machines: Network, shared_data: Callable[[str], Path], tmp_path: Path
) -> None:
    settings = {"labels": "meld4", "partition": "fedmultimodal", "context": 4}
    bundle = write_bundle(tmp_path / "bundle")
    cohort = prepare(
        RunSettings.of(dataset="meld", data_dir=shared_data("meld"), bundle=str(bundle), **settings), progress=False
    )
    machines.hosts[0].copy(cohort, "/tmp/data/meld")
    few = {**SMALL, "rounds": 2, "clients_per_round": 30, "batch_size": 32}
    other = join(machines)
    together = Run(machines, "/tmp/data/meld", **few, name="meld-together").to_its_end()
    assert together["answers"].keys() == {machines.hosts[0].address, other.address}
    assert (together["failures"], together["digest"]) == (0, alone(tmp_path, cohort, **few))
    other.die()
