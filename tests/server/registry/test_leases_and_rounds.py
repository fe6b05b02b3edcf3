"""One aggregator drives a run; a round is committed once, by whoever holds the lease; an update is taken once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.support.public_keys import public_key

from fedaffect.edge.errors import ConfigError
from fedaffect.server.registry import Registry, audit, devices, leases, participations, rounds, runs, tokens
from fedaffect.server.registry.errors import (
    DeviceRefused,
    DuplicateUpdate,
    LeaseHeld,
    LeaseLost,
    NotAsked,
    RegistryError,
    RunConflict,
    UnknownRun,
    UpdateRefused,
    WrongModel,
    WrongRound,
)
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.participations import Outcome, Slot

BASE, NEXT, OTHER = "a" * 64, "b" * 64, "c" * 64
DEVICES = ("one", "two", "three")


@pytest.fixture
def run(registry: Registry) -> Registry:
    runs.create(registry, run_id="run", config={"lr": 0.1, "rounds": 3})
    return registry


@pytest.fixture
def lease(run: Registry) -> Lease:
    return leases.acquire(run, "run", "first")


@pytest.fixture
def servers(url: str) -> Iterator[Callable[[int], list[Registry]]]:
    with ExitStack() as stack:
        yield lambda count: [stack.enter_context(Registry.open(url)) for _ in range(count)]


def _open(registry: Registry, lease: Lease, round: int = 1, base: str = BASE) -> rounds.Round:
    opened = rounds.open_round(registry, lease, round, selected=DEVICES, base_sha256=base)
    participations.ask(registry, lease, round, opened.attempt, DEVICES)
    return opened


def _actions(registry: Registry) -> list[str]:
    return [entry.action for entry in audit.entries(registry)]


def test_of_aggregators_that_race_one_gets_the_run(run: Registry, servers: Callable[[int], list[Registry]]) -> None:
    racers = servers(4)
    for number in range(3):
        together = threading.Barrier(len(racers))

        def race(index: int, number: int = number, together: threading.Barrier = together) -> Lease | None:
            together.wait()
            try:
                return leases.acquire(racers[index], f"run {number}", f"owner {index}")
            except LeaseHeld:
                return None

        with ThreadPoolExecutor(len(racers)) as pool:
            won = [lease for lease in pool.map(race, range(len(racers))) if lease is not None]
        assert len(won) == 1
        assert won[0].fencing_token == 1
        assert leases.current(run, f"run {number}") == won[0]
        with pytest.raises(LeaseHeld, match=f"is driven by {won[0].owner} for another"):
            leases.acquire(run, f"run {number}", "late")
        # The winner itself gets it again under the same token.
        again = leases.acquire(run, f"run {number}", won[0].owner)
        assert again.fencing_token == 1
        assert again.expires >= won[0].expires


def test_a_lease_that_ran_out_is_taken_with_a_greater_token(run: Registry) -> None:
    first = leases.acquire(run, "run", "first", seconds=0.05)
    time.sleep(0.1)
    assert leases.current(run, "run") is None
    # Nobody took it yet: it can be kept.
    first = leases.renew(run, first, seconds=0.05)
    time.sleep(0.1)
    second = leases.acquire(run, "run", "second")
    assert second.fencing_token == first.fencing_token + 1
    with pytest.raises(LeaseLost, match=r"driven by first.*but by second"):
        leases.renew(run, first)
    leases.release(run, first)
    assert leases.current(run, "run") == second
    leases.release(run, second)
    with pytest.raises(LeaseLost, match="nobody"):
        leases.renew(run, second)
    assert leases.acquire(run, "run", "third").fencing_token == second.fencing_token + 1
    for seconds in (0.0, -1.0, float("nan"), 1e9):
        with pytest.raises(ConfigError):
            leases.acquire(run, "run", "third", seconds=seconds)


def test_an_aggregator_that_lost_its_run_can_write_nothing(run: Registry) -> None:
    stale = leases.acquire(run, "run", "stale")
    opened = _open(run, stale)
    stale = leases.renew(run, stale, seconds=0.05)
    time.sleep(0.1)
    fresh = leases.acquire(run, "run", "fresh")
    before = _actions(run)
    for write in (
        lambda: rounds.commit(run, stale, 1, 1, arrays_sha256=NEXT, checkpoint="x"),
        lambda: rounds.abandon(run, stale, 1, 1, reason="no"),
        lambda: rounds.open_round(run, stale, 1, selected=DEVICES, base_sha256=BASE),
        lambda: rounds.begin_unmasking(run, stale, 1, 1, devices=DEVICES),
        lambda: participations.ask(run, stale, 1, 1, ["four"]),
        lambda: participations.record_outcome(run, stale, Slot("run", 1, 1, "one"), Outcome(state="answered")),
        lambda: runs.finish(run, stale),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert _actions(run) == before
    assert rounds.of_run(run, "run") == [opened]
    # Who took over repeats the round with an attempt of its own.
    second = _open(run, fresh)
    assert (second.attempt, rounds.of_run(run, "run")[0].state) == (2, "abandoned")
    rounds.commit(run, fresh, 1, 2, arrays_sha256=NEXT, checkpoint="x")
    assert {each.state for each in participations.of_round(run, "run", 1, 1)} == {"failed"}


def test_a_commit_and_a_take_over_at_the_same_moment(run: Registry, servers: Callable[[int], list[Registry]]) -> None:
    """Either the commit comes first and the successor sees it, or it is refused: never a third way."""
    ours, theirs = servers(2)
    current = leases.acquire(run, "run", "owner 0")
    for number in range(1, 9):
        done = rounds.last_committed(run, "run")
        round = done.round + 1 if done else 1
        opened = rounds.open_round(run, current, round, selected=DEVICES, base_sha256=BASE)
        leases.renew(run, current, seconds=0.001)
        time.sleep(0.005)
        together = threading.Barrier(2)

        def commit(
            held: Lease = current, opened: rounds.Round = opened, together: threading.Barrier = together
        ) -> bool:
            together.wait()
            try:
                rounds.commit(ours, held, opened.round, opened.attempt, arrays_sha256=NEXT, checkpoint="x")
            except LeaseLost:
                return False
            return True

        def take(number: int = number, together: threading.Barrier = together) -> tuple[Lease, rounds.Round | None]:
            together.wait()
            lease = leases.acquire(theirs, "run", f"owner {number}")
            return lease, rounds.last_committed(theirs, "run")

        with ThreadPoolExecutor(2) as pool:
            committing, taking = pool.submit(commit), pool.submit(take)
            committed, (current, seen) = committing.result(), taking.result()
        assert (seen is not None and seen.round == round) == committed


def test_a_round_goes_its_way_once(run: Registry, lease: Lease) -> None:
    opened = _open(run, lease)
    assert (opened.round, opened.attempt, opened.state, opened.selected) == (1, 1, "open", DEVICES)
    assert rounds.open_round(run, lease, 1, selected=DEVICES, base_sha256=BASE) == opened
    with pytest.raises(RunConflict, match="commit it or abandon it"):
        rounds.open_round(run, lease, 1, selected=DEVICES[:1], base_sha256=BASE)
    with pytest.raises(RunConflict, match="open round 1, not 2"):
        rounds.open_round(run, lease, 2, selected=DEVICES, base_sha256=BASE)
    rounds.abandon(run, lease, 1, 1, reason="too few answered")
    assert rounds.abandon(run, lease, 1, 1, reason="again").reason == "too few answered"
    with pytest.raises(RunConflict, match="is abandoned"):
        rounds.commit(run, lease, 1, 1, arrays_sha256=NEXT, checkpoint="x")
    second = _open(run, lease)
    assert second.attempt == 2
    done = rounds.commit(run, lease, 1, 2, arrays_sha256=NEXT, checkpoint="x", metrics={"uar": 0.5})
    entries = _actions(run)
    assert rounds.commit(run, lease, 1, 2, arrays_sha256=NEXT, checkpoint="x") == done
    assert _actions(run) == entries
    with pytest.raises(RunConflict, match="other arrays"):
        rounds.commit(run, lease, 1, 2, arrays_sha256=OTHER, checkpoint="x")
    with pytest.raises(RunConflict, match="never undone"):
        rounds.abandon(run, lease, 1, 2, reason="no")
    with pytest.raises(RunConflict, match="open round 2, not 1"):
        rounds.open_round(run, lease, 1, selected=DEVICES, base_sha256=BASE)
    with pytest.raises(UnknownRun):
        rounds.commit(run, lease, 7, 1, arrays_sha256=NEXT, checkpoint="x")
    assert rounds.last_committed(run, "run") == done
    assert rounds.last_committed(run, "elsewhere") is None
    runs.finish(run, lease)
    with pytest.raises(RunConflict, match="start another"):
        rounds.open_round(run, lease, 2, selected=DEVICES, base_sha256=NEXT)
    assert audit.verify(run).entries == len(_actions(run))


def test_rounds_may_be_left_out_where_that_is_said(run: Registry, lease: Lease) -> None:
    with pytest.raises(RunConflict, match="open round 1, not 3"):
        rounds.open_round(run, lease, 3, selected=DEVICES, base_sha256=BASE)
    opened = rounds.open_round(run, lease, 3, selected=DEVICES, base_sha256=BASE, skipping=True)
    rounds.commit(run, lease, 3, opened.attempt, arrays_sha256=NEXT, checkpoint="")
    with pytest.raises(RunConflict, match="open round 4, not 2"):
        rounds.open_round(run, lease, 2, selected=DEVICES, base_sha256=NEXT, skipping=True)


def test_the_database_itself_knows_one_committed_and_one_open_attempt(run: Registry, lease: Lease) -> None:
    _open(run, lease)
    rounds.abandon(run, lease, 1, 1, reason="")
    _open(run, lease)
    with pytest.raises(IntegrityError), run.writing() as session:
        session.execute(text("UPDATE rounds SET state = 'open'"))
    with pytest.raises(IntegrityError), run.writing() as session:
        session.execute(text("UPDATE rounds SET state = 'committed'"))


def test_one_set_of_devices_is_unmasked(run: Registry, lease: Lease) -> None:
    _open(run, lease)
    opened = rounds.begin_unmasking(run, lease, 1, 1, devices=["two", "one"])
    assert opened.unmasked == ("one", "two")
    assert rounds.begin_unmasking(run, lease, 1, 1, devices=["one", "two"]) == opened
    with pytest.raises(RunConflict, match="and not of these"):
        rounds.begin_unmasking(run, lease, 1, 1, devices=["one"])
    rounds.abandon(run, lease, 1, 1, reason="")
    with pytest.raises(RunConflict, match="open a new attempt"):
        rounds.begin_unmasking(run, lease, 1, 1, devices=["one", "two"])
    # Nor by another attempt, of whatever aggregator.
    assert rounds.unmasking_began(run, "run", 1)
    assert not rounds.unmasking_began(run, "run", 2)
    _open(run, lease)
    with pytest.raises(RunConflict, match="run/1/1 began to unmask"):
        rounds.begin_unmasking(run, lease, 1, 2, devices=["one"])
    assert rounds.begin_unmasking(run, lease, 1, 2, devices=["one", "two"]).unmasked == ("one", "two")


def test_an_update_is_taken_once(run: Registry, lease: Lease) -> None:
    _open(run, lease)
    slot = Slot("run", 1, 1, "one")
    outcome = Outcome(state="answered", base_sha256=BASE, seconds=1.5, bytes_up=3 << 32, bytes_down=7)
    taken = participations.record_outcome(run, lease, slot, outcome)
    assert (taken.state, taken.seconds, taken.bytes_up, taken.bytes_down) == ("answered", 1.5, 3 << 32, 7)
    # The aggregator asks again because the answer was lost; a device that sends again is another delivery.
    assert participations.record_outcome(run, lease, slot, outcome) == taken
    assert "update.refused" not in _actions(run)
    with pytest.raises(DuplicateUpdate, match="has answered in run/1/1/one before"):
        participations.record_outcome(run, lease, slot, Outcome(state="answered", base_sha256=BASE))
    refused = list(audit.entries(run, action="update.refused"))
    assert [(entry.subject, entry.actor) for entry in refused] == [("run/1/1/one", "device:one")]
    assert "DuplicateUpdate" in refused[0].details
    assert participations.of_round(run, "run", 1, 1)[0] == taken
    # A device that says no has not failed, and may not change its mind within the attempt.
    no = Outcome(state="refused", reason="quiet hours")
    assert participations.record_outcome(run, lease, Slot("run", 1, 1, "two"), no).state == "refused"
    with pytest.raises(DuplicateUpdate):
        participations.record_outcome(run, lease, Slot("run", 1, 1, "two"), outcome)
    rounds.commit(run, lease, 1, 1, arrays_sha256=NEXT, checkpoint="x")
    states = {each.slot.device_id: each.state for each in participations.of_round(run, "run", 1)}
    assert states == {"one": "answered", "two": "refused", "three": "failed"}
    assert {each.reason for each in participations.of_round(run, "run", 1) if each.slot.device_id == "two"} == {
        "quiet hours"
    }


def test_of_deliveries_at_the_same_moment_one_is_counted(
    run: Registry, lease: Lease, servers: Callable[[int], list[Registry]]
) -> None:
    _open(run, lease)
    pair = servers(2)
    together = threading.Barrier(6)

    def deliver(index: int) -> bool:
        together.wait()
        try:
            participations.record_outcome(pair[index % 2], lease, Slot("run", 1, 1, "one"), Outcome(state="answered"))
        except DuplicateUpdate:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(deliver, range(6))) == 1
    assert _actions(run).count("update.refused") == 5


def test_updates_that_must_not_count_are_refused_and_audited(run: Registry, lease: Lease) -> None:
    _open(run, lease)
    rounds.abandon(run, lease, 1, 1, reason="")
    _open(run, lease)
    wrong: list[tuple[Slot, Outcome, type[UpdateRefused]]] = [
        (Slot("other", 1, 2, "one"), Outcome(state="answered"), WrongRound),
        (Slot("run", 1, 1, "one"), Outcome(state="answered"), DuplicateUpdate),
        (Slot("run", 1, 1, "four"), Outcome(state="answered"), WrongRound),
        (Slot("run", 2, 1, "one"), Outcome(state="answered"), WrongRound),
        (Slot("run", 1, 2, "four"), Outcome(state="answered"), NotAsked),
        (Slot("run", 1, 2, "one"), Outcome(state="answered", base_sha256=OTHER), WrongModel),
    ]
    for number, (slot, outcome, error) in enumerate(wrong, 1):
        with pytest.raises((error, WrongRound)):
            participations.record_outcome(run, lease, slot, outcome)
        refused = list(audit.entries(run, action="update.refused"))
        assert len(refused) == number
        assert refused[-1].subject == str(slot)
    # None of it stood in the way of the right one.
    assert (
        participations.record_outcome(run, lease, Slot("run", 1, 2, "one"), Outcome(state="answered")).state
        == "answered"
    )
    with pytest.raises(ConfigError):
        Outcome(state="asked")


def test_many_updates_are_settled_at_once(run: Registry, lease: Lease) -> None:
    _open(run, lease)
    outcome = Outcome(state="answered")
    slots = [Slot("run", 1, 1, device) for device in ("one", "four", "two", "two")]
    many = [(slots[0], outcome), (slots[1], outcome), (slots[2], Outcome(state="refused")), (slots[3], outcome)]
    done = participations.settle_all(run, lease, many)
    assert [getattr(each, "state", type(each)) for each in done] == ["answered", NotAsked, "refused", DuplicateUpdate]
    assert [entry.subject for entry in audit.entries(run, action="update.refused")] == [str(slots[1]), str(slots[3])]
    states = {each.slot.device_id: each.state for each in participations.of_round(run, "run", 1)}
    assert states == {"one": "answered", "two": "refused", "three": "asked"}


def test_late_updates_are_not_taken(run: Registry, lease: Lease) -> None:
    _open(run, lease)
    rounds.commit(run, lease, 1, 1, arrays_sha256=NEXT, checkpoint="x")
    with pytest.raises(WrongRound, match="too late"):
        participations.record_outcome(run, lease, Slot("run", 1, 1, "one"), Outcome(state="answered"))
    _open(run, lease, 2, NEXT)
    rounds.abandon(run, lease, 2, 1, reason="")
    with pytest.raises(UpdateRefused):
        participations.record_outcome(run, lease, Slot("run", 2, 1, "one"), Outcome(state="answered"))


def test_a_device_revoked_during_a_round_is_not_counted(run: Registry, lease: Lease) -> None:
    device = devices.enroll(
        run,
        tokens.make_token(run),
        name="phone",
        public_key=public_key("AAAA"),
        capabilities=devices.Capabilities(modalities=("voice",), memory_mb=100, cores=1),
        consent=True,
    )
    rounds.open_round(run, lease, 1, selected=[device.id], base_sha256=BASE)
    participations.ask(run, lease, 1, 1, [device.id])
    devices.revoke(run, device.id, reason="lost")
    with pytest.raises(DeviceRefused, match="is revoked"):
        participations.record_outcome(run, lease, Slot("run", 1, 1, device.id), Outcome(state="answered"))
    assert participations.of_round(run, "run", 1)[0].state == "asked"
    assert _actions(run)[-1] == "update.refused"


def test_runs_and_the_flower_runs_that_carry_them(run: Registry, lease: Lease) -> None:
    first = runs.get(run, "run")
    assert runs.create(run, run_id="run", config={"rounds": 3, "lr": 0.1}) == first
    with pytest.raises(RunConflict, match="other settings"):
        runs.create(run, run_id="run", config={"lr": 0.2})
    large = 2**64 - 1
    assert runs.attach(run, "run", large).flower_runs == (large,)
    assert runs.attach(run, "run", 5) == runs.attach(run, "run", 5)
    assert runs.get(run, "run").flower_runs == (large, 5)
    runs.create(run, run_id="other", config={})
    with pytest.raises(RunConflict, match="carries run 'run'"):
        runs.attach(run, "other", 5)
    with pytest.raises(UnknownRun):
        runs.get(run, "no")
    with pytest.raises(UnknownRun):
        runs.attach(run, "no", 6)
    assert runs.finish(run, lease, state="failed", reason="diverged") == runs.finish(run, lease, state="failed")
    with pytest.raises(RegistryError, match="is failed"):
        runs.finish(run, lease)
    assert [each.id for each in runs.every(run, "open")] == ["other"]
