"""A round in which too many clients fail stops the run, and the summary counts all failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Error, Message, MessageType
from flwr.common.constant import ErrorCode
from tests.support.in_process_grid import InProcessGrid

from fedaffect.edge.errors import ConfigError, TrainingError
from fedaffect.server.federation.failures import FailureLimit, count_failures
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS = 6
ConfigOf = Callable[..., RunSettings]


class Failing(InProcessGrid):
    """Some clients fail once they have trained so many times."""

    def __init__(self, failing: set[int], healthy: int = 0) -> None:
        self.asked: dict[int, int] = {}

        def fail(partition: int, message: Message) -> None:
            self.asked[partition] = self.asked.get(partition, 0) + 1
            if partition in failing and self.asked[partition] > healthy:
                raise RuntimeError("no space left on the node")

        super().__init__(CLIENTS, fault=fail)


def run(config: RunSettings, cohort_folder: Path, grid: InProcessGrid, **more: Any) -> RunFolder:
    path = config.output.out / config.run_name
    folder = RunFolder.open(path) if more.get("resume") else RunFolder.create(config)
    run_federation(grid, config, cohort_folder, folder, **more)
    return folder


@pytest.mark.slow
def test_too_many_failures_stop_the_run_with_the_first_reason(cohort_folder: Path, config_of: ConfigOf) -> None:
    config = config_of(rounds=4, clients_per_round=CLIENTS)
    with pytest.raises(TrainingError) as caught:
        run(config, cohort_folder, Failing({2}, healthy=2))
    said = str(caught.value)
    assert said.startswith("1 of 6 clients failed in round 3, more than --max-failed-share 0.1 allows; the first, ")
    assert said.endswith("no space left on the node")
    # What was learned before stays, and the run goes on from there once the cause is gone.
    folder = RunFolder.open(config.output.out / config.run_name)
    assert folder.checkpoints.rounds() == [1, 2]
    resumed = run(config, cohort_folder, InProcessGrid(CLIENTS), resume=True)
    whole = run(config.changed(name="whole"), cohort_folder, InProcessGrid(CLIENTS))
    arrays = [{n: a.tobytes() for n, a in one.checkpoints.load(4).arrays.items()} for one in (resumed, whole)]
    assert arrays[0] == arrays[1]


def test_a_larger_share_may_be_allowed_also_to_a_run_that_stopped(cohort_folder: Path, config_of: ConfigOf) -> None:
    config = config_of(rounds=2, clients_per_round=CLIENTS)
    with pytest.raises(TrainingError, match="round 2"):
        run(config, cohort_folder, Failing({1, 4}, healthy=1))
    folder = run(config.changed(max_failed_share=0.4), cohort_folder, Failing({1, 4}), resume=True)
    summary = folder.summary()
    assert [(line["clients"], line["failures"]) for line in folder.metrics()] == [(6, 0), (4, 2)]
    assert (summary["client_failures"], summary["failed_rounds"]) == (2, 1)
    assert summary["failure_reasons"] == {"no space left on the node": 1}


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "async", "buffer_size": 3, "concurrency": 3},
        {"mode": "local-only"},
        {"secagg": True},
        {"strategy": "fedmedian"},
        {"compression": "int8"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_every_kind_of_round_stops(cohort_folder: Path, config_of: ConfigOf, settings: dict[str, Any]) -> None:
    config = config_of(rounds=2, clients_per_round=CLIENTS, **settings)
    with pytest.raises(TrainingError, match=r"more than --max-failed-share 0\.1 allows.*no space left on the node"):
        run(config, cohort_folder, Failing({0, 3}))


def test_clients_that_cannot_evaluate_are_no_quiet_minority(cohort_folder: Path, config_of: ConfigOf) -> None:
    class Blind(InProcessGrid):
        def reply(self, partition: int, message: Message, context: Any) -> Message:
            if partition == 3 and message.metadata.message_type == MessageType.EVALUATE:
                return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "no room"), reply_to=message)
            return super().reply(partition, message, context)

    with pytest.raises(TrainingError, match="1 of 6 clients failed in the evaluation of round 1"):
        run(config_of(rounds=1, clients_per_round=CLIENTS), cohort_folder, Blind(CLIENTS))


@pytest.mark.parametrize(("share", "failed", "stops"), [(0, 1, True), (0.1, 1, False), (0.1, 2, True), (1, 10, False)])
def test_the_share_is_the_largest_that_may_fail(config_of: ConfigOf, share: float, failed: int, stops: bool) -> None:
    limit = FailureLimit.of(config_of(max_failed_share=share), in_fleet=True)
    broken = [(client, "gone") for client in range(failed)]
    if not stops:
        limit.require_few(broken, 10, "round 1", ())
        return
    with pytest.raises(TrainingError, match=f"{failed} of 10 clients failed in round 1"):
        limit.require_few(broken, 10, "round 1", ())


def test_devices_of_a_fleet_end_no_run_unless_that_is_asked_for(config_of: ConfigOf) -> None:
    assert FailureLimit.of(config_of(), in_fleet=True).share == 1
    assert FailureLimit.of(config_of(), in_fleet=False).share == 0.1
    with pytest.raises(ConfigError, match="--max-failed-share"):
        config_of(max_failed_share=1.5)


def test_the_summary_tells_kinds_of_failures_apart() -> None:
    lines = [
        {
            "failures": 3,
            "rejected": {"a": "forged"},
            "simulated": {"lost": 2},
            "refusals": 1,
            "first_failure": "forged",
        },
        {"failures": 0, "rejected": {}, "simulated": None, "refusals": 0, "first_failure": None},
    ]
    assert count_failures(lines) == {
        "client_failures": 3,
        "rejected_updates": 1,
        "dropouts": 2,
        "refusals": 1,
        "failed_rounds": 1,
        "failure_reasons": {"forged": 1},
    }
