"""A real outage: a run's PostgreSQL is killed in the middle of a round, recovers, and the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flwr.app import Message
from tests.support.fleet_runs import CLIENTS, Fleet, FleetGrid, enrol, simulated
from tests.support.own_postgresql import NoPostgresql, OwnPostgresql

from fedaffect.client.wire import CONFIG, SERVER_ROUND
from fedaffect.server.environment import FLEET_VARIABLE
from fedaffect.server.federation.settings import RunSettings
from fedaffect.server.fleet.setup.folder import FleetFolder, FleetSettings
from fedaffect.server.registry import Registry, audit, rounds, runs

_AWAY_S = 3.0


@pytest.fixture
def database() -> Iterator[OwnPostgresql]:
    try:
        with OwnPostgresql() as database:
            yield database
    except NoPostgresql as error:
        pytest.skip(str(error))


def test_a_database_that_is_killed_and_comes_back_costs_no_round(
    database: OwnPostgresql,
    config_of: Callable[..., RunSettings],
    cohort_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = FleetFolder.create(tmp_path / "fleet", FleetSettings(registry=database.url))
    monkeypatch.setenv(FLEET_VARIABLE, str(folder.path))
    back = threading.Timer(_AWAY_S, database.start)
    away_at: list[int] = []

    def killed(partition: int, message: Message, reply: Message) -> Message:
        # While devices train, so that neither the round nor its first update is written down yet.
        number = int(str(message.content.config_records[CONFIG][SERVER_ROUND]))
        if number == 2 and not away_at:
            away_at.append(number)
            database.kill()
            back.start()
        return reply

    with Registry.open(database.url) as registry:
        grid = FleetGrid(CLIENTS, change=killed)
        enrol(registry, grid, tmp_path)
        fleet = Fleet(folder, registry, config_of(), cohort_folder)
        fleet.resume(grid)
        back.join()
        assert away_at == [2]
        assert runs.get(registry, fleet.id).state == "finished"
        # Repeated, not begun again: one attempt a round, by one ServerApp.
        assert [(r.round, r.attempt, r.state) for r in rounds.of_run(registry, fleet.id)] == [
            (number, 1, "committed") for number in range(1, 5)
        ]
        (line,) = audit.entries(registry, action="registry.was-away")
        assert line.subject == fleet.id
        audit.verify(registry)
    beside = simulated(config_of(), cohort_folder)
    for number in (2, 4):
        same = beside.checkpoints.load(number).arrays
        assert fleet.arrays(number) == {name: array.tobytes() for name, array in same.items()}
