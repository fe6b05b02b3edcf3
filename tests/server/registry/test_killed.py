"""Aggregators killed at random instants: no finished round is lost or counted twice, and the audit log stays whole."""

from __future__ import annotations

import hashlib
import multiprocessing
import multiprocessing.process
import random
import time
from pathlib import Path

import pytest

from fedaffect.server.registry import Registry, audit, leases, participations, privacy, rounds, runs
from fedaffect.server.registry.errors import LeaseHeld, LeaseLost
from fedaffect.server.registry.leases import Lease
from fedaffect.server.registry.participations import Outcome, Slot

DEVICES = ("one", "two", "three")
KILLS, LEASE_S = 5, 0.5


def _sha256(round: int) -> str:
    return hashlib.sha256(f"round {round}".encode()).hexdigest()


def _taken(registry: Registry, owner: str) -> Lease:
    while True:
        try:
            return leases.acquire(registry, "run", owner, seconds=LEASE_S)
        except LeaseHeld:
            time.sleep(0.02)


def drive(url: str, owner: str, said: Path) -> None:
    """An aggregator: goes on from the newest committed round, and says which it has committed."""
    with Registry.open(url) as registry, said.open("a") as file:
        while True:
            lease = _taken(registry, owner)
            try:
                while True:
                    file.write(f"{_round(registry, lease)}\n")
                    file.flush()
                    lease = leases.renew(registry, lease, seconds=LEASE_S)
            except LeaseLost:
                continue


def _round(registry: Registry, lease: Lease) -> int:
    done = rounds.last_committed(registry, "run")
    number = done.round + 1 if done else 1
    base = done.arrays_sha256 if done and done.arrays_sha256 else _sha256(0)
    opened = rounds.open_round(registry, lease, number, selected=DEVICES, base_sha256=base)
    participations.ask(registry, lease, number, opened.attempt, DEVICES)
    paid = [
        privacy.Charge(
            run_id="run",
            round=number,
            attempt=opened.attempt,
            device_id=device,
            unit="example",
            epsilon=number + opened.attempt / 1000,
            delta=1e-5,
            accountant="rdp",
            noise_multiplier=1.0,
        )
        for device in DEVICES
    ]
    privacy.charge_all(registry, paid)
    for device in DEVICES[:-1]:
        slot = Slot("run", number, opened.attempt, device)
        participations.record_outcome(registry, lease, slot, Outcome(state="answered", base_sha256=base))
    rounds.begin_unmasking(registry, lease, number, opened.attempt, devices=DEVICES[:-1])
    rounds.commit(registry, lease, number, opened.attempt, arrays_sha256=_sha256(number), checkpoint="x")
    return number


@pytest.mark.slow
def test_aggregators_that_are_killed(registry: Registry, url: str, tmp_path: Path) -> None:
    instants = random.Random(7)
    runs.create(registry, run_id="run", config={})
    # Forked, for they are killed before they could do anything with what they inherit.
    processes = multiprocessing.get_context("fork")
    racing: list[multiprocessing.process.BaseProcess] = []

    def start() -> None:
        arguments = (url, f"owner {len(racing)}", tmp_path / f"said-{len(racing)}")
        racing.append(processes.Process(target=drive, args=arguments))
        racing[-1].start()

    try:
        # Two at a time, one of which waits for the lease of the other.
        start()
        for _ in range(KILLS):
            start()
            _wait_for_rounds(registry, instants.randint(1, 3))
            time.sleep(instants.uniform(0, 0.05))
            holder = leases.current(registry, "run")
            racing[int(holder.owner.split()[1]) if holder else -1].kill()
        _wait_for_rounds(registry, 1)
    finally:
        for process in racing:
            process.kill()
            process.join()
    said = [int(line) for path in tmp_path.glob("said-*") for line in path.read_text().split()]
    attempts = rounds.of_run(registry, "run")
    committed = [each for each in attempts if each.state == "committed"]
    assert [each.round for each in committed] == list(range(1, len(committed) + 1))
    assert [each.arrays_sha256 for each in committed] == [_sha256(each.round) for each in committed]
    assert set(said) <= {each.round for each in committed}
    assert len(said) == len(set(said))
    assert sum(each.state == "open" for each in attempts) <= 1
    for each in committed:
        took = participations.of_round(registry, "run", each.round, each.attempt)
        assert [one.state for one in took] == ["answered", "failed", "answered"]
    charged = {(paid.round, paid.attempt, paid.device_id) for paid in privacy.charges(registry)}
    assert {(each.round, each.attempt, device) for each in committed for device in DEVICES} <= charged
    found = audit.verify(registry)
    actions = [entry.action for entry in audit.entries(registry)]
    assert found.entries == len(actions)
    assert actions.count("round.committed") == len(committed)
    assert actions.count("round.opened") == len(attempts)


def _wait_for_rounds(registry: Registry, more: int) -> None:
    done = rounds.last_committed(registry, "run")
    wanted = (done.round if done else 0) + more
    while (done := rounds.last_committed(registry, "run")) is None or done.round < wanted:
        time.sleep(0.01)
