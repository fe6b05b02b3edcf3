"""Secure sums over a fleet's devices: what each remembers on its disk, and one sum of a round whatever dies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message
from tests.support.fleet_runs import (
    CLIENTS,
    ConfigOf,
    DeviceGrid,
    Fleet,
    FleetGrid,
    Killed,
    about,
    simulated,
    stage_of,
)

from fedaffect.client.device.permission import LearningRules
from fedaffect.client.device.sum_memory import SumMemory
from fedaffect.client.secagg.memory import Memory
from fedaffect.client.secagg.protocol import SEALED_BYTES
from fedaffect.client.wire import ARRAYS, ATTEMPT, BASE, MASKED, RUN, SECAGG
from fedaffect.server.fleet.errors import NobodyLearned
from fedaffect.server.registry import Registry, audit, devices, leases, participations, rounds
from fedaffect.server.registry.errors import LeaseLost

SETTINGS = {"secagg": True, "clients_per_round": CLIENTS, "rounds": 2}
AFleet = Callable[..., Fleet]


def close(fleet: Fleet, plain: dict[str, Any], number: int, within: float) -> None:
    ours = fleet.run_folder.checkpoints.load(number).arrays
    for name, array in plain.items():
        np.testing.assert_allclose(ours[name], array, rtol=0, atol=within, err_msg=name)


def attempts(fleet: Fleet) -> list[tuple[int, int, str]]:
    return [(r.round, r.attempt, r.state) for r in rounds.of_run(fleet.registry, fleet.id)]


def test_devices_give_the_sums_of_the_simulation_and_forget_their_secrets(
    a_fleet: AFleet, device_grid: DeviceGrid, config_of: ConfigOf, cohort_folder: Path
) -> None:
    fleet = a_fleet(**SETTINGS)
    fleet.resume(device_grid)
    plain = simulated(config_of(**{**SETTINGS, "secagg": False}), cohort_folder)
    for number in (1, 2):
        close(fleet, dict(plain.checkpoints.load(number).arrays), number, 1e-5)
    # What came was words and what the protocol says, and nothing of an update.
    assert {stage for stage, _, _ in device_grid.heard} == {"keys", "shares", "masked", "unmask"}
    for stage, _, reply in device_grid.heard:
        assert ARRAYS not in reply.content
        assert (MASKED in reply.content) == (stage == "masked")
    committed = [r for r in rounds.of_run(fleet.registry, fleet.id) if r.state == "committed"]
    everybody = tuple(sorted(d.id for d in devices.every(fleet.registry)))
    assert [r.unmasked for r in committed] == [everybody, everybody]
    for one in participations.of_round(fleet.registry, fleet.id, 1):
        assert (one.state, one.bytes_up > 10_000, one.bytes_down > 10_000) == ("answered", True, True)
    for partition in range(CLIENTS):
        memory = device_grid.memory(partition)
        assert (memory.revealed_round, memory.held, memory.own_mask, memory.masking) == (2, {}, b"", b"")
        (path,) = device_grid.devices[partition].sums.glob("*.json")
        assert path.stat().st_mode & 0o077 == 0
    audit.verify(fleet.registry)


WRONG: dict[str, tuple[Callable[[Message], Message], str]] = {
    "another run": (lambda reply: about(reply, **{RUN: "other"}), "WrongRound"),
    "another attempt": (lambda reply: about(reply, **{ATTEMPT: 3}), "WrongRound"),
    "another round": (lambda reply: about(reply, server_round=7), "WrongRound"),
    "another model version": (lambda reply: about(reply, **{BASE: "0" * 64}), "WrongModel"),
}


@pytest.fixture(scope="module")
def honest() -> dict[str, bytes]:
    """Arrays of a round in which d2 sends no masked update, once a test has made them."""
    return {}


@pytest.mark.parametrize("what", [*WRONG, "revoked meanwhile"])
def test_a_masked_update_that_does_not_fit_is_refused_and_in_no_sum(
    what: str, a_fleet: AFleet, grid: FleetGrid, honest: dict[str, bytes]
) -> None:
    if not honest:
        without = a_fleet(**{**SETTINGS, "rounds": 1, "round_timeout_s": 1.0}, name="honest")
        without.resume(FleetGrid(CLIENTS, change=lambda p, m, r: None if (p, stage_of(m)) == (2, "masked") else r))
        honest.update(without.arrays(1))
    fleet = a_fleet(**{**SETTINGS, "rounds": 1})

    def change(partition: int, message: Message, reply: Message) -> Message:
        if (partition, stage_of(message)) != (2, "masked"):
            return reply
        if what in WRONG:
            return WRONG[what][0](reply)
        devices.revoke(fleet.registry, "d2", reason="stolen")
        return reply

    grid.change = change
    fleet.resume(grid)
    line = fleet.run_folder.metrics()[0]
    assert (line["clients"], line["failures"]) == (5, 1)
    rule = WRONG[what][1] if what in WRONG else "DeviceRefused"
    assert any(rule in details for details in fleet.rules())
    assert fleet.arrays(1) == honest
    assert fleet.who(1)["d2"] == "failed"
    (committed,) = [r for r in rounds.of_run(fleet.registry, fleet.id) if r.state == "committed"]
    assert len(committed.unmasked or ()) == 5


def test_an_attempt_that_loses_too_many_is_one_of_the_registrys_and_the_next_has_its_own_number(
    a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    fleet = a_fleet(**{**SETTINGS, "rounds": 1, "round_timeout_s": 2.0})
    lost: list[int] = []

    def lose(partition: int, message: Message, reply: Message) -> Message | None:
        if stage_of(message) == "masked" and message.content.config_records[SECAGG]["attempt"] == 1 and partition < 5:
            lost.append(partition)
            return None
        return reply

    device_grid.change = lose
    fleet.resume(device_grid)
    assert lost
    assert attempts(fleet) == [(1, 1, "abandoned"), (1, 2, "committed")]
    first = participations.of_round(fleet.registry, fleet.id, 1, 1)
    assert sum("no reply" in one.reason for one in first) == 5
    assert {one.state for one in participations.of_round(fleet.registry, fleet.id, 1, 2)} == {"answered"}
    masked = [r.content[MASKED][MASKED].numpy() for stage, p, r in device_grid.heard if (stage, p) == ("masked", 0)]
    assert (masked[0] == masked[1]).mean() < 0.01


@pytest.mark.parametrize(
    ("moment", "elsewhere"),
    [("keys", False), ("shares", False), ("masked", False), ("unmask", False), ("unmask", True)],
    ids=lambda value: {True: "another machine", False: "this machine"}.get(value, value),
)
def test_an_aggregator_that_dies_leaves_one_sum_at_most(
    moment: str, elsewhere: bool, a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    fleet = a_fleet(**{**SETTINGS, "rounds": 2})

    def die(partition: int, message: Message, reply: Message) -> Message:
        if (stage_of(message), message.content.config_records[SECAGG]["round"]) == (moment, 1):
            raise Killed
        return reply

    device_grid.change = die
    with pytest.raises(Killed):
        fleet.resume(device_grid)
    device_grid.change = None
    device_grid.waiting.clear()
    if elsewhere:
        shutil.rmtree(fleet.folder.runs / fleet.id)
    asked_before = len(device_grid.pushed)
    fleet.resume(device_grid)
    first, second = fleet.run_folder.metrics()
    assert second["clients"] == CLIENTS
    states = [(round, state) for round, _, state in attempts(fleet)]
    assert states == [(1, "abandoned"), (1, "committed"), (2, "committed")]
    again = [m for m in device_grid.pushed[asked_before:] if SECAGG in m.content]
    if moment == "unmask":
        # Its sum may have been opened: nobody is asked for another, and the arrays stay.
        assert (first["clients"], first["first_failure"] or "") == (0, first["first_failure"])
        assert "had begun" in first["first_failure"]
        assert {int(m.content.config_records[SECAGG]["round"]) for m in again} == {2}
    else:
        assert first["clients"] == CLIENTS
        assert {int(m.content.config_records[SECAGG]["attempt"]) for m in again if stage_of(m) == "keys"} == {1, 2}
    opened = [r.unmasked for r in rounds.of_run(fleet.registry, fleet.id) if r.unmasked]
    assert len(opened) == 2


def spoiled(reply: Message, neighbours: int) -> Message:
    """Shares of which none opens."""
    payload = bytearray(reply.content[SECAGG]["payload"])
    for place in range(4, neighbours * (4 + SEALED_BYTES), 4 + SEALED_BYTES):
        payload[place] ^= 1
    reply.content[SECAGG] = ConfigRecord({"payload": bytes(payload)})
    return reply


@pytest.mark.parametrize("liar", [0, 4])
def test_of_five_devices_one_liar_costs_itself_and_one_other(
    liar: int, a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    def lie(partition: int, message: Message, reply: Message) -> Message:
        return spoiled(reply, 4) if (partition, stage_of(message)) == (liar, "shares") else reply

    device_grid.change = lie
    device_grid.offline = {5}
    fleet = a_fleet(**{**SETTINGS, "rounds": 1})
    fleet.resume(device_grid)
    assert fleet.run_folder.metrics()[0]["clients"] == 3
    assert attempts(fleet) == [(1, 1, "abandoned"), (1, 2, "committed")]
    assert fleet.who(1)[f"d{liar}"] == "failed"
    assert sorted(fleet.who(1).values()) == ["answered"] * 3 + ["failed"] * 2


def test_a_device_that_lies_ends_no_run_and_the_audit_log_names_it(a_fleet: AFleet, device_grid: DeviceGrid) -> None:
    def lie(partition: int, message: Message, reply: Message) -> Message:
        if (partition, stage_of(message)) == (3, "unmask"):
            payload = bytearray(reply.content[SECAGG]["payload"])
            payload[-1] ^= 1
            reply.content[SECAGG] = ConfigRecord({"payload": bytes(payload)})
        return spoiled(reply, CLIENTS - 1) if (partition, stage_of(message)) == (4, "shares") else reply

    device_grid.change = lie
    fleet = a_fleet(**SETTINGS)
    fleet.resume(device_grid)
    # Of two liars one cannot be proved, and takes a client with it in each round; the other is asked no more.
    assert [line["clients"] for line in fleet.run_folder.metrics()] == [4, 3]
    assert attempts(fleet) == [(1, 1, "abandoned"), (1, 2, "committed"), (2, 1, "abandoned"), (2, 2, "committed")]
    liar = devices.get(fleet.registry, "d3").id
    (entry,) = audit.entries(fleet.registry, action="sum.liar")
    assert entry.subject.endswith(liar)
    assert "revealed a share that is not the one" in entry.details
    reasons = {p.slot.device_id: p.reason for p in participations.of_round(fleet.registry, fleet.id, 2, 2)}
    assert reasons[liar].startswith("left out: in an earlier round it revealed a share")
    assert "left out: client" in reasons[devices.get(fleet.registry, "d4").id]
    audit.verify(fleet.registry)


def test_an_aggregator_that_lost_its_run_unmasks_nothing(
    a_fleet: AFleet, device_grid: DeviceGrid, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = a_fleet(**SETTINGS)

    def taken(partition: int, message: Message, reply: Message) -> Message:
        if (partition, stage_of(message)) == (5, "masked"):
            held = leases.current(registry, fleet.id)
            assert held is not None
            leases.release(registry, held)
            leases.acquire(registry, fleet.id, "elsewhere:1:a", seconds=60)
        return reply

    device_grid.change = taken
    with pytest.raises(LeaseLost):
        fleet.resume(device_grid)
    assert not [m for m in device_grid.pushed if SECAGG in m.content and stage_of(m) == "unmask"]
    assert not rounds.unmasking_began(registry, fleet.id, 1)


def test_a_no_in_the_first_stage_is_a_refusal_and_everybodys_leaves_the_arrays(
    a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    device_grid.devices[0].change(consent=False)
    device_grid.devices[1].change(rules=LearningRules(min_examples=10_000))
    fleet = a_fleet(**{**SETTINGS, "rounds": 1})
    fleet.resume(device_grid)
    line = fleet.run_folder.metrics()[0]
    assert (line["clients"], line["refusals"], line["failures"]) == (4, 2, 0)
    assert (fleet.who(1)["d0"], fleet.who(1)["d1"], fleet.who(1)["d2"]) == ("refused", "refused", "answered")
    for folder in device_grid.devices.values():
        folder.change(consent=False)
    nobody = a_fleet(**SETTINGS, name="nobody")
    with pytest.raises(NobodyLearned, match="6 x its user has not agreed to learning"):
        nobody.resume(device_grid)
    assert nobody.arrays(1) == nobody.arrays(2)
    assert [line["refusals"] for line in nobody.run_folder.metrics()] == [6, 6]
    assert set(nobody.who(2).values()) == {"refused"}


def test_nos_after_the_first_stage_leave_the_arrays_and_the_rounds_go_on(
    a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    def taken_back(partition: int, message: Message, reply: Message) -> Message:
        device_grid.devices[partition].change(consent=False)
        return reply

    device_grid.change = taken_back
    fleet = a_fleet(**SETTINGS)
    with pytest.raises(NobodyLearned):
        fleet.resume(device_grid)
    assert fleet.arrays(1) == fleet.arrays(2)
    assert [(line["refusals"], line["failures"]) for line in fleet.run_folder.metrics()] == [(6, 0), (6, 0)]


def test_a_device_that_agreed_goes_on_unless_its_user_takes_consent_back(
    a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    def unplugged(partition: int, message: Message, reply: Message) -> Message:
        if stage_of(message) == "keys" and partition < 2:
            folder = device_grid.devices[partition]
            folder.change(**({"consent": False} if partition else {"rules": LearningRules(min_examples=10_000)}))
        return reply

    device_grid.change = unplugged
    fleet = a_fleet(**{**SETTINGS, "rounds": 1})
    fleet.resume(device_grid)
    assert fleet.who(1)["d0"] == "answered"
    assert fleet.who(1)["d1"] == "refused"


def test_an_answer_that_was_lost_is_given_again_and_secrets_run_out(a_fleet: AFleet, device_grid: DeviceGrid) -> None:
    twice: list[bool] = []

    def again(partition: int, message: Message, reply: Message) -> Message:
        if partition == 3:
            # The trainer died with its answer written down and not sent: Flower hands the message over once more.
            second = device_grid.reply(
                partition, message, Context(1, 1, {"partition-id": 3}, type(reply.content)(), {})
            )
            twice.append(_bytes(second) == _bytes(reply))
        return reply

    device_grid.change = again
    a_fleet(**{**SETTINGS, "rounds": 1}).resume(device_grid)
    assert twice == [True] * 4

    def left(partition: int, message: Message, reply: Message) -> Message:
        if stage_of(message) == "masked":
            raise Killed
        return reply

    device_grid.change = left
    other = a_fleet(**SETTINGS, name="left")
    with pytest.raises(Killed):
        other.resume(device_grid)
    folder = device_grid.devices[0].sums
    files = {path.name: json.loads(path.read_bytes()) for path in folder.glob("*.json")}
    (name,) = [name for name, memory in files.items() if memory["own_mask"]]
    SumMemory(folder, now=lambda: (folder / name).stat().st_mtime + 3600.0).expire()
    memory = Memory.from_bytes((folder / name).read_bytes())
    assert (memory.forgotten, memory.own_mask, memory.held, memory.masking) == (True, b"", {}, b"")
    # A later attempt begins again.
    device_grid.change = None
    device_grid.waiting.clear()
    other.resume(device_grid)
    assert [line["clients"] for line in other.run_folder.metrics()] == [CLIENTS, CLIENTS]


def _bytes(reply: Message) -> Any:
    if MASKED in reply.content:
        return reply.content[MASKED][MASKED].numpy().tobytes()
    return reply.content[SECAGG]["payload"]


def test_devices_that_insist_on_masks_refuse_plain_rounds_and_take_part_in_sums(
    a_fleet: AFleet, device_grid: DeviceGrid
) -> None:
    for device in device_grid.devices.values():
        device.change(only_secagg=True)
    plain = a_fleet(**{**SETTINGS, "secagg": False, "rounds": 1})
    with pytest.raises(NobodyLearned):
        plain.resume(device_grid)
    assert set(plain.who(1).values()) == {"refused"}
    # Nor does a mixture work: one that insists refuses, the others answer.
    device_grid.devices[0].change(only_secagg=False)
    mixed = a_fleet(**{**SETTINGS, "secagg": False, "rounds": 1, "name": "mixed"})
    mixed.resume(device_grid)
    assert sorted(mixed.who(1).values()) == ["answered"] + ["refused"] * (CLIENTS - 1)
    masked = a_fleet(**{**SETTINGS, "rounds": 1, "name": "masked"})
    masked.resume(device_grid)
    assert set(masked.who(1).values()) == {"answered"}
