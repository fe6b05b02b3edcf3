"""Over-selection and deadlines, in simulated time and in real time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from numpy.typing import NDArray
from tests.support.in_process_grid import InProcessGrid

from fedaffect.edge.errors import ConfigError, TrainingError
from fedaffect.server.federation.asynchronous.pace import Trip
from fedaffect.server.federation.robustness.deadline import asked, plan_round
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS = 6
ConfigOf = Callable[..., RunSettings]


class Known:
    """Client k takes 10 (k + 1) seconds; some are lost, and some are away before a certain hour."""

    def __init__(self, lost: Iterable[int] = (), away: Iterable[int] = (), until_s: float = 0.0) -> None:
        self.lost, self.away, self.until_s = set(lost), set(away), until_s

    def online(self, at_s: float) -> NDArray[np.bool_]:
        return np.array([k not in self.away or at_s >= self.until_s for k in range(CLIENTS)])

    def trip(self, client: int, start: int, at_s: float) -> Trip:
        return Trip(10.0 * (client + 1), client not in self.lost)

    def describe(self) -> dict[str, Any]:
        return {"name": "known"}


def plan(pace: Known, wanted: int = 3, over: float = 2.0, deadline_s: float = 1e3, at_s: float = 0.0) -> Any:
    return plan_round(pace, wanted=wanted, over_selection=over, deadline_s=deadline_s, seed=0, number=1, at_s=at_s)


def test_enough_are_asked_and_no_more_than_there_are() -> None:
    assert [asked(10, over, 100) for over in (1.0, 1.3, 1.25)] == [10, 13, 13]
    assert asked(10, 1.3, 11) == 11


def test_the_first_count_and_the_round_ends_with_the_last_of_them() -> None:
    planned = plan(Known())
    assert (planned.counted, planned.late, planned.lost) == ((0, 1, 2), (3, 4, 5), ())
    assert (planned.began_s, planned.ends_s) == (0.0, 30.0)


def test_who_drops_out_is_made_up_for_by_those_asked_beyond_need() -> None:
    planned = plan(Known(lost=(0, 2)))
    assert (planned.counted, planned.late, planned.lost) == ((1, 3, 4), (5,), (0, 2))
    assert planned.ends_s == 50.0


def test_a_deadline_ends_the_round_with_whoever_came() -> None:
    planned = plan(Known(), deadline_s=25.0, at_s=100.0)
    assert (planned.counted, planned.late) == ((0, 1), (2, 3, 4, 5))
    assert planned.ends_s == 125.0
    assert plan(Known(), deadline_s=5.0).counted == ()
    # Nobody can tell a client that is lost from one that is slow.
    assert plan(Known(lost=(5,)), wanted=6, over=1.0, deadline_s=500.0).ends_s == 500.0


def test_a_round_waits_until_enough_are_online() -> None:
    planned = plan(Known(away=(2, 3, 4, 5), until_s=3_600.0), over=1.0)
    assert planned.began_s == 3_600.0
    with pytest.raises(TrainingError, match="online for a week"):
        plan(Known(away=range(CLIENTS), until_s=1e9))


def federation(config: RunSettings, cohort: Path, grid: InProcessGrid, pace: Known | None = None) -> RunFolder:
    folder = RunFolder.create(config)
    run_federation(grid, config, cohort, folder, pace=pace)
    return folder


def test_only_who_counts_is_trained_and_the_line_says_the_rest(cohort_folder: Path, config_of: ConfigOf) -> None:
    grid = InProcessGrid(CLIENTS)
    config = config_of(rounds=2, over_selection=2.0, deadline_s=45.0, name="timed")
    lines = federation(config, cohort_folder, grid, Known(lost=(1,))).metrics()
    trained = [grid.nodes[m.metadata.dst_node_id] for m in grid.pushed if m.metadata.message_type == "train"]
    assert trained == [0, 2, 3] * 2
    assert [(line["clients"], line["failures"], line["first_failure"]) for line in lines] == [(3, 1, "dropped out")] * 2
    assert lines[0]["simulated"] == {"began_s": 0.0, "ends_s": 40.0, "asked": 6, "late": 2, "lost": 1}
    assert lines[1]["simulated"]["began_s"] == 40.0

    # What they learn is what they would learn anyhow.
    def others_fail(partition: int, message: Message) -> None:
        if partition not in (0, 2, 3):
            raise RuntimeError("elsewhere")

    plain = federation(
        config_of(rounds=2, clients_per_round=6, name="plain", max_failed_share=1.0),
        cohort_folder,
        InProcessGrid(CLIENTS, fault=others_fail),
    )
    timed = RunFolder.open(config.output.out / "timed")
    for name, array in plain.checkpoints.load(2).arrays.items():
        np.testing.assert_array_equal(array, timed.checkpoints.load(2).arrays[name])


def test_a_round_for_which_nobody_is_in_time_changes_nothing(cohort_folder: Path, config_of: ConfigOf) -> None:
    config = config_of(rounds=2, deadline_s=5.0)
    folder = federation(config, cohort_folder, InProcessGrid(CLIENTS), Known())
    assert [(line["clients"], line["failures"]) for line in folder.metrics()] == [(0, 3), (0, 3)]
    first, second = (folder.checkpoints.load(number).arrays for number in (1, 2))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    assert folder.summary()["rounds"] == 2


@pytest.mark.slow
def test_simulated_time_goes_on_where_a_run_stopped(cohort_folder: Path, config_of: ConfigOf) -> None:
    settings = {"over_selection": 1.3, "deadline_s": 45.0}
    whole = federation(config_of(rounds=4, name="whole", **settings), cohort_folder, InProcessGrid(CLIENTS), Known())
    parts = federation(config_of(rounds=2, name="parts", **settings), cohort_folder, InProcessGrid(CLIENTS), Known())
    config = config_of(rounds=4, name="parts", **settings)
    folder = RunFolder.open(parts.path)
    run_federation(InProcessGrid(CLIENTS), config, cohort_folder, folder, resume=True, pace=Known())
    assert [line["simulated"] for line in folder.metrics()] == [line["simulated"] for line in whole.metrics()]
    for name, array in whole.checkpoints.load(4).arrays.items():
        np.testing.assert_array_equal(array, folder.checkpoints.load(4).arrays[name])


@pytest.mark.slow
def test_in_real_time_the_first_who_answer_count_and_the_rest_are_no_failures(
    cohort_folder: Path, config_of: ConfigOf
) -> None:
    class SlowGrid(InProcessGrid):
        """Clients 0 and 1 never have an answer."""

        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            there = [i for i in message_ids if self.nodes[self.waiting[i].metadata.dst_node_id] > 1 or self.asking(i)]
            return super().pull_messages(there)

        def asking(self, message_id: str) -> bool:
            return self.waiting[message_id].metadata.message_type != "train"

        def push_messages(self, messages: Iterable[Message]) -> list[str]:
            # An answer is there or not; nobody may be asked about one already taken.
            return super().push_messages(messages)

    grid = SlowGrid(CLIENTS)
    began = time.monotonic()
    config = config_of(rounds=1, clients_per_round=4, over_selection=1.5, round_timeout_s=900.0)
    (line,) = federation(config, cohort_folder, grid).metrics()
    assert (line["clients"], line["failures"]) == (4, 0)
    assert time.monotonic() - began < 890
    config = config_of(rounds=1, clients_per_round=6, deadline_s=3.0, name="deadline")
    (line,) = federation(config, cohort_folder, SlowGrid(CLIENTS)).metrics()
    assert (line["clients"], line["failures"]) == (4, 2)
    assert line["first_failure"] == "no reply within 3 s"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"over_selection": 0.9}, "--over-selection must be between 1 and 10"),
        ({"deadline_s": 0.0}, "--deadline-s must be above 0"),
        ({"deadline_s": 10.0, "mode": "local-only"}, "--local-only waits for nobody"),
        ({"over_selection": 1.3, "secagg": True}, "--secagg recovers"),
        ({"trace": "devices", "dp": "local", "epsilon": 8.0, "delta": 1e-5}, "--dp is accounted"),
        ({"concurrency": 5}, "--concurrency is of --mode async"),
    ],
)
def test_settings_that_do_not_go_together(config_of: ConfigOf, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config_of(**settings)
