"""The replay that benchmarks hold a fleet's rounds against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.fleet_runs import Fleet, FleetGrid
from tests.support.replaying import replay

from fedaffect.server.registry import devices, participations, rounds


def test_a_replay_of_those_who_answered_gives_the_rounds_that_were_committed(
    a_fleet: Callable[..., Fleet], grid: FleetGrid, cohort_folder: Path, tmp_path: Path
) -> None:
    # One device never answers, so that it matters who did.
    grid.change = lambda partition, message, reply: None if partition == 2 else reply
    fleet = a_fleet(rounds=2, clients_per_round=6, round_timeout_s=1.0)
    fleet.resume(grid)
    partition = {device.id: int(device.name.removeprefix("d")) for device in devices.every(fleet.registry)}
    committed = {r.round: r.arrays_sha256 for r in rounds.of_run(fleet.registry, fleet.id)}
    answered = {
        number: sorted(
            partition[p.slot.device_id]
            for p in participations.of_round(fleet.registry, fleet.id, number)
            if p.state == "answered"
        )
        for number in committed
    }
    config = fleet.run_folder.config
    assert replay(tmp_path, cohort_folder, config, answered) == committed
    assert answered[1] == [0, 1, 3, 4, 5]
    everybody = {number: list(range(6)) for number in committed}
    assert replay(tmp_path / "again", cohort_folder, config, everybody) != committed
