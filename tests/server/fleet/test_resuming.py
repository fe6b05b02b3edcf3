"""Runs of a fleet carried on by ServerApps that come and go: real client code, real registry, no sockets."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Error, Message
from flwr.common.constant import ErrorCode
from tests.support.fleet_runs import CLIENTS, ConfigOf, Fleet, FleetGrid, Killed, Killer, about, simulated, trains

from fedaffect.client.app import app
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.wire import ABOUT, ARRAYS, ATTEMPT, BASE, CONFIG, PACKED, REFUSED, RUN, SERVER_ROUND
from fedaffect.edge.errors import FedAffectError, RunError
from fedaffect.server.federation import checkpoint
from fedaffect.server.fleet.errors import NobodyLearned, RunDamaged, TooFewDevices
from fedaffect.server.fleet.runs import run_runner
from fedaffect.server.fleet.runs.submission import write_app
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, RegistryUnavailable, audit, devices, leases, models, rounds, runs
from fedaffect.server.registry.errors import LeaseHeld


def test_a_fleet_gives_the_arrays_of_the_simulation(
    a_fleet: Callable[..., Fleet], grid: FleetGrid, config_of: ConfigOf, cohort_folder: Path
) -> None:
    fleet = a_fleet()
    fleet.resume(grid)
    beside = simulated(config_of(), cohort_folder)
    for number in (1, 4):
        same = beside.checkpoints.load(number).arrays
        assert fleet.arrays(number) == {name: array.tobytes() for name, array in same.items()}
    run = runs.get(fleet.registry, fleet.id)
    assert (run.state, run.flower_runs) == ("finished", (fleet.flower_run,))
    committed = [r for r in rounds.of_run(fleet.registry, fleet.id) if r.state == "committed"]
    assert [r.round for r in committed] == [1, 2, 3, 4]
    assert committed[1].base_sha256 == committed[0].arrays_sha256
    assert sorted(fleet.who(1).values()) == ["answered"] * 3
    assert leases.current(fleet.registry, fleet.id) is None
    # One array a record on the wire, however many the model has.
    train = [m for m in grid.pushed if trains(m)]
    assert all(list(m.content.array_records[ARRAYS]) == [PACKED] for m in train)
    audit.verify(fleet.registry)


@pytest.mark.parametrize("moment", ["after a round", "between checkpoint and registry", "while devices train"])
def test_a_serverapp_that_died_is_carried_on_to_the_same_arrays(
    moment: str,
    a_fleet: Callable[..., Fleet],
    grid: FleetGrid,
    config_of: ConfigOf,
    cohort_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # SCAFFOLD: devices and server both keep something that must not advance twice.
    settings = {"strategy": "scaffold", "clients_per_round": 4}
    fleet = a_fleet(**settings)
    with monkeypatch.context() as patch:
        if moment == "between checkpoint and registry":
            commit = rounds.commit

            def dying(registry: Registry, lease: Any, number: int, *rest: Any, **named: Any) -> Any:
                if number == 2:
                    raise Killed
                return commit(registry, lease, number, *rest, **named)

            patch.setattr(rounds, "commit", dying)
        if moment == "while devices train":
            grid.change = _dies_in_round_2
        with pytest.raises(Killed):
            fleet.resume(grid, [Killer(2)] if moment == "after a round" else [])
    grid.change = None
    finished = rounds.last_committed(fleet.registry, fleet.id)
    assert finished is not None
    assert finished.round == (2 if moment == "after a round" else 1)
    fleet.resume(FleetGrid(CLIENTS, grid.contexts))
    beside = simulated(config_of(**settings), cohort_folder)
    for number in (1, 2, 4):
        same = beside.checkpoints.load(number).arrays
        assert fleet.arrays(number) == {name: array.tobytes() for name, array in same.items()}, number
    attempts = [(r.round, r.state) for r in rounds.of_run(fleet.registry, fleet.id)]
    assert [n for n, state in attempts if state == "committed"] == [1, 2, 3, 4]
    if moment != "after a round":
        assert (2, "abandoned") in attempts
    assert len(runs.get(fleet.registry, fleet.id).flower_runs) == 2
    assert [line["round"] for line in fleet.run_folder.metrics()] == [1, 2, 3, 4]


def _dies_in_round_2(partition: int, message: Message, reply: Message) -> Message:
    if message.content.config_records[CONFIG][SERVER_ROUND] == 2:
        raise Killed
    return reply


def test_a_serverapp_that_dies_while_it_exports_leaves_the_run_open(
    a_fleet: Callable[..., Fleet], grid: FleetGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*_: object) -> None:
        raise Killed

    fleet = a_fleet(rounds=1)
    with monkeypatch.context() as patch:
        patch.setattr(run_runner, "export_quietly", dying)
        with pytest.raises(Killed):
            fleet.resume(grid)
    assert runs.get(fleet.registry, fleet.id).state == "open"
    exported: list[str] = []
    monkeypatch.setattr(run_runner, "export_quietly", lambda folder, registry, run_id: exported.append(run_id))
    fleet.resume(FleetGrid(CLIENTS, grid.contexts))
    assert exported == [fleet.id]
    assert [(r.round, r.state) for r in rounds.of_run(fleet.registry, fleet.id)] == [(1, "committed")]
    assert runs.get(fleet.registry, fleet.id).state == "finished"


def test_a_full_disk_ends_no_run_and_costs_no_round(
    a_fleet: Callable[..., Fleet],
    grid: FleetGrid,
    config_of: ConfigOf,
    cohort_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = a_fleet()
    write_whole = checkpoint.write_whole

    def full(path: Path, data: bytes) -> None:
        if len(data) > 5000 and len(list((fleet.folder.runs / fleet.id / "checkpoints").glob("*.json"))) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_whole(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_whole", full)
        with pytest.raises(RunError, match="make room"):
            fleet.resume(grid)
    assert runs.get(fleet.registry, fleet.id).state == "open"
    said = [entry.details for entry in audit.entries(fleet.registry, action="round.abandoned")]
    assert any("make room" in details for details in said)
    fleet.resume(FleetGrid(CLIENTS, grid.contexts))
    same = simulated(config_of(), cohort_folder).checkpoints.load(4).arrays
    assert fleet.arrays(4) == {name: array.tobytes() for name, array in same.items()}


def test_a_database_that_is_away_for_a_while_costs_no_round(
    a_fleet: Callable[..., Fleet], grid: FleetGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = a_fleet(rounds=2)
    commit, away = rounds.commit, [3]

    def flaky(*rest: Any, **named: Any) -> Any:
        done = commit(*rest, **named)
        if away[0]:
            # After it was done, too: the answer is what is lost.
            away[0] -= 1
            raise RegistryUnavailable("the registry does not answer; try again")
        return done

    monkeypatch.setattr(rounds, "commit", flaky)
    monkeypatch.setattr("fedaffect.server.registry.retry._FIRST_S", 0.01)
    fleet.resume(grid)
    assert [r.state for r in rounds.of_run(fleet.registry, fleet.id)] == ["committed", "committed"]
    assert len(list(audit.entries(fleet.registry, action="registry.was-away"))) == 1


def test_a_no_is_no_failure_and_the_round_goes_on(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    def no(partition: int, message: Message, reply: Message) -> Message:
        return Message(Error(REFUSED, "it runs on its battery"), reply_to=message) if partition == 0 else reply

    grid.change = no
    fleet = a_fleet(clients_per_round=6, rounds=2)
    fleet.resume(grid)
    line = fleet.run_folder.metrics()[0]
    assert (line["clients"], line["refusals"], line["failures"]) == (5, 1, 0)
    assert fleet.who(1)["d0"] == "refused"


def test_a_round_in_which_everybody_says_no_leaves_the_arrays(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    grid.change = lambda partition, message, reply: Message(Error(REFUSED, "quiet hours"), reply_to=message)
    fleet = a_fleet(rounds=2)
    with pytest.raises(NobodyLearned, match="no device learned in any of 2 rounds"):
        fleet.resume(grid)
    assert fleet.arrays(1) == fleet.arrays(2)
    assert fleet.run_folder.metrics()[0]["refusals"] == 3
    over = runs.get(fleet.registry, fleet.id)
    assert (over.state, over.reason[-48:]) == ("failed", "(3 x quiet hours); no bundle is made of this run")
    assert models.every(fleet.registry) == []


def without_about(reply: Message) -> Message:
    del reply.content[ABOUT]
    return reply


def poisoned(reply: Message) -> Message:
    array = np.array(reply.content.array_records[ARRAYS][PACKED].numpy())
    array[0] = np.nan
    reply.content.array_records[ARRAYS][PACKED] = type(reply.content.array_records[ARRAYS][PACKED])(array)
    return reply


def misshapen(reply: Message) -> Message:
    array = np.array(reply.content.array_records[ARRAYS][PACKED].numpy())[:-1]
    reply.content.array_records[ARRAYS][PACKED] = type(reply.content.array_records[ARRAYS][PACKED])(array)
    return reply


def crashed(reply: Message) -> Message:
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "it broke"), reply_to=_ASKED[-1])


_ASKED: list[Message] = []

WRONG: dict[str, tuple[Callable[[Message], Message], str]] = {
    "another run": (lambda reply: about(reply, **{RUN: "other"}), "WrongRound"),
    "another round": (lambda reply: about(reply, server_round=7), "WrongRound"),
    "another attempt": (lambda reply: about(reply, **{ATTEMPT: 3}), "WrongRound"),
    "another model version": (lambda reply: about(reply, **{BASE: "0" * 64}), "WrongModel"),
    "no round at all": (without_about, "does not say which run"),
    "not numbers": (poisoned, "NaN"),
    "another shape": (misshapen, "shape"),
}


@pytest.fixture(scope="module")
def honest() -> dict[str, bytes]:
    """Arrays of a round in which d2 does not answer, once a test has made them."""
    return {}


@pytest.mark.parametrize("what", WRONG)
def test_an_update_that_does_not_fit_is_refused_audited_and_not_counted(
    what: str, a_fleet: Callable[..., Fleet], grid: FleetGrid, honest: dict[str, bytes]
) -> None:
    wrong, rule = WRONG[what]
    if not honest:
        without = a_fleet(clients_per_round=6, rounds=1, name="honest", round_timeout_s=1.0)
        without.resume(FleetGrid(CLIENTS, change=lambda p, m, reply: None if p == 2 else reply), gather_s=0.2)
        honest.update(without.arrays(1))
    grid.change = lambda partition, message, reply: wrong(reply) if partition == 2 else reply
    fleet = a_fleet(clients_per_round=6, rounds=1, round_timeout_s=1.0)
    fleet.resume(grid)
    line = fleet.run_folder.metrics()[0]
    assert (line["clients"], line["failures"]) == (5, 1)
    assert fleet.who(1)["d2"] == "failed"
    assert any(rule in details for details in fleet.rules())
    # The arrays are those without it.
    assert fleet.arrays(1) == honest


def test_an_update_that_comes_twice_counts_once(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    plain = a_fleet(rounds=1, name="plain")
    plain.resume(FleetGrid(CLIENTS))
    grid.change = lambda partition, message, reply: [reply, reply]
    fleet = a_fleet(rounds=1)
    fleet.resume(grid)
    assert fleet.arrays(1) == plain.arrays(1)
    assert sum("DuplicateUpdate" in details for details in fleet.rules()) == 3


def test_an_oversized_update_is_refused(
    a_fleet: Callable[..., Fleet], grid: FleetGrid, fleet_folder: FleetFolder
) -> None:
    small = replace(fleet_folder.settings, largest_update_mb=0.001)
    (fleet_folder.path / "fleet.toml").write_text(small.to_toml())
    (fleet_folder.path / "fleet.toml").chmod(0o600)
    run = a_fleet(rounds=1)
    with pytest.raises(FedAffectError):
        run.resume(grid)
    assert any("more than 1000" in details for details in run.rules())
    assert rounds.last_committed(run.registry, run.id) is None


def test_a_device_revoked_in_the_middle_of_a_round_is_not_counted(
    a_fleet: Callable[..., Fleet], grid: FleetGrid
) -> None:
    fleet = a_fleet(clients_per_round=6, rounds=2)

    def revoked(partition: int, message: Message, reply: Message) -> Message:
        if partition == 4 and message.content.config_records[CONFIG][SERVER_ROUND] == 1:
            devices.revoke(fleet.registry, "d4", reason="stolen")
        return reply

    grid.change = revoked
    fleet.resume(grid)
    first, second = fleet.run_folder.metrics()
    assert (first["clients"], first["failures"]) == (5, 1)
    assert (second["clients"], second["failures"]) == (5, 0)
    assert "d4" not in fleet.who(2)
    assert any("revoked" in details for details in fleet.rules())


def test_neither_strangers_nor_who_takes_consent_back_are_asked(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    fleet = a_fleet(clients_per_round=6, rounds=1)
    grid.nodes[4242] = 0  # somebody's node that Flower knows and the registry does not
    devices.set_consent(fleet.registry, "d5", False)
    fleet.resume(grid)
    assert set(fleet.who(1)) == {"d0", "d1", "d2", "d3", "d4"}
    assert 4242 not in {m.metadata.dst_node_id for m in grid.pushed}


def test_devices_that_are_offline_are_not_waited_for_for_ever(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    fleet = a_fleet(clients_per_round=6, rounds=2)
    grid.offline = {1, 3, 4, 5}
    with pytest.raises(FedAffectError, match="2 devices can be asked, and a round needs 3"):
        carry_without_waiting(fleet, grid)
    grid.offline = {1, 3}
    fleet.resume(grid)
    assert set(fleet.who(1)) == {"d0", "d2", "d4", "d5"}


def test_a_round_that_cannot_begin_says_what_it_waits_for(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    fleet = a_fleet(clients_per_round=6, rounds=1)
    grid.offline = {1, 2, 3, 4, 5}
    seen: list[str] = []

    class Watching(FleetGrid):
        def get_node_ids(self) -> list[int]:
            """Another device comes each time that somebody looks; what stands in the registry is noted before."""
            seen.append(runs.get(fleet.registry, fleet.id).reason)
            if len(seen) > 3:
                self.offline.discard(len(seen) - 3)
            return super().get_node_ids()

    grid.__class__ = Watching
    fleet.resume(grid, gather_s=0.1)
    words = "waits for devices: a round needs 3 of 6, and {} are online"
    assert list(dict.fromkeys(seen))[:3] == ["", words.format(1), words.format(2)]
    assert runs.get(fleet.registry, fleet.id).reason == ""


def test_a_run_ends_with_a_reason_when_its_time_for_waiting_is_over(
    a_fleet: Callable[..., Fleet], grid: FleetGrid
) -> None:
    fleet = a_fleet(clients_per_round=6, rounds=1)
    grid.offline = {1, 3, 4, 5}
    with pytest.raises(TooFewDevices, match=r"a round needs 3 of 6 devices, and 2 were online after 0.2 s"):
        fleet.resume(grid, gather_s=0.1, **{"timeout-s": 0.2})
    run = runs.get(fleet.registry, fleet.id)
    assert run.state == "failed"
    assert "3 of 6 devices, and 2 were online" in run.reason


def carry_without_waiting(fleet: Fleet, grid: FleetGrid) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedaffect.server.fleet.runs.members._GIVE_UP_S", 0.3)
        fleet.resume(grid, gather_s=0.1)


def test_two_serverapps_never_carry_one_run(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    fleet = a_fleet(rounds=1)
    # Of another machine, so that nobody here can see whether it lives.
    leases.acquire(fleet.registry, fleet.id, "elsewhere:1:a", seconds=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedaffect.server.fleet.runs.run_runner.held_lease", _not_waiting)
        with pytest.raises(LeaseHeld, match="elsewhere"):
            fleet.resume(grid)


def _not_waiting(registry: Registry, run_id: str) -> Any:
    from fedaffect.server.fleet.runs.lease_holder import held_lease

    return held_lease(registry, run_id, give_up_s=0.1)


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(
    a_fleet: Callable[..., Fleet], grid: FleetGrid
) -> None:
    import socket
    import subprocess
    import sys

    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    fleet = a_fleet(rounds=1)
    leases.acquire(fleet.registry, fleet.id, f"{socket.gethostname()}:{gone.pid}:x", seconds=3600)
    fleet.resume(grid)
    assert runs.get(fleet.registry, fleet.id).state == "finished"


def test_a_checkpoint_that_was_changed_is_not_gone_on_from(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    fleet = a_fleet()
    with suppress(Killed):
        fleet.resume(grid, [Killer(2)])
    checkpoints = fleet.run_folder.checkpoints
    other = replace(checkpoints.load(1), round=2)
    checkpoints.commit(other)
    with pytest.raises(RunDamaged, match="does not hold the arrays"):
        fleet.resume(grid)
    assert runs.get(fleet.registry, fleet.id).state == "failed"


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern")
def test_the_app_that_flower_gets_holds_settings_and_no_code(tmp_path: Path, a_fleet: Callable[..., Fleet]) -> None:
    from flwr.cli.build import build_fab_from_disk
    from flwr.common.config import get_fab_config

    fleet = a_fleet()
    folder = write_app(tmp_path / "apps" / fleet.id, fleet.id, fleet.settings)
    assert [path.name for path in folder.rglob("*")] == ["pyproject.toml"]
    fab = build_fab_from_disk(folder)
    assert len(fab) < 10_000
    config = get_fab_config(fab)["tool"]["flwr"]["app"]
    assert config["components"] == {"serverapp": "fedaffect.server.app:app", "clientapp": "fedaffect.client.app:app"}
    assert config["config"]["fleet-run"] == fleet.id


def test_the_client_app_itself_says_what_it_answers(a_fleet: Callable[..., Fleet], grid: FleetGrid) -> None:
    heard: list[dict[str, Any]] = []

    def listen(partition: int, message: Message, reply: Message) -> Message:
        heard.append(dict(reply.content.config_records[ABOUT]))
        return reply

    grid.change = listen
    fleet = a_fleet(rounds=1)
    fleet.resume(grid)
    assert {h[RUN] for h in heard} == {fleet.id}
    assert {h[ATTEMPT] for h in heard} == {1}
    assert callable(app)


def test_a_device_that_changes_its_key_is_asked_once_wherever_it_is(
    a_fleet: Callable[..., Fleet], grid: FleetGrid, tmp_path: Path
) -> None:
    fleet = a_fleet(clients_per_round=6, rounds=2)
    known = devices.get(fleet.registry, "d0")
    devices.rotate_key(fleet.registry, known.id, DeviceKey.make(tmp_path / "new.key").public)
    devices.set_node(fleet.registry, known.id, 77)
    asked: list[int] = []

    def moves(partition: int, message: Message, reply: Message) -> Message:
        if partition == 0:
            asked.append(message.metadata.dst_node_id)
            # Its SuperNode starts again with the new key, and Flower has not noticed that the old one is gone.
            grid.nodes[77] = 0
        return reply

    grid.change = moves
    fleet.resume(grid)
    assert asked == [known.node_id, 77]
    assert [line["clients"] for line in fleet.run_folder.metrics()] == [6, 6]
