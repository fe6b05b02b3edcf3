"""Devices that answer anything at all: a round of which nothing counts is asked again, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import ArrayRecord, Context, Error, Message, RecordDict
from tests.support.fleet_runs import Fleet, FleetGrid
from tests.support.public_keys import public_key

from fedaffect.client.wire import MASKED, METRICS, SECAGG
from fedaffect.server.fleet.runs import run_runner
from fedaffect.server.registry import Registry, devices, rounds, tokens
from fedaffect.server.registry.errors import EnrolmentRefused

SECURE = {"secagg": True, "clients_per_round": 6}


def without_metrics(reply: Message) -> None:
    for name in (METRICS, MASKED, SECAGG):
        reply.content.pop(name, None)


def huge_loss(reply: Message) -> None:
    reply.content.metric_records[METRICS]["train_loss"] = 1e300


def garbage(reply: Message) -> None:
    for name, record in list(reply.content.array_records.items()):
        reply.content[name] = ArrayRecord({key: _garbage(array) for key, array in record.items()})
    for record in reply.content.config_records.values():
        record.update({key: b"\x00" for key, value in record.items() if isinstance(value, bytes)})


def _garbage(array: Any) -> Any:
    array.data = b"\x93NUMPY" + b"\xff" * 20
    return array


@pytest.mark.parametrize("change", [without_metrics, huge_loss, garbage])
@pytest.mark.parametrize("settings", [{}, SECURE, {"strategy": "krum", "clients_per_round": 6}], ids=str)
def test_six_rounds_in_a_row_of_which_nothing_counts_do_not_end_a_run(
    a_fleet: Callable[..., Fleet],
    grid: FleetGrid,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Message], None],
    settings: dict[str, Any],
) -> None:
    if settings == SECURE and change is huge_loss:
        pytest.skip("what a masked update says of its loss is masked too")
    tries: list[float] = []
    monkeypatch.setattr(run_runner, "_ATTEMPTS", 50)
    monkeypatch.setattr(run_runner, "time", SimpleNamespace(sleep=tries.append))

    def broken(partition: int, message: Message, reply: Message) -> Message:
        if len(tries) < 6 and not reply.has_error():
            change(reply)
        return reply

    grid.change = broken
    fleet = a_fleet(rounds=1, **settings)
    fleet.resume(grid)
    assert [record.round for record in rounds.of_run(fleet.registry, fleet.id) if record.state == "committed"] == [1]
    assert len(tries) == 6
    assert tries == sorted(tries)
    assert set(fleet.who(1).values()) >= {"answered"}


def test_a_device_keeps_the_partition_that_the_registry_gave_it_whatever_its_node_says(
    a_fleet: Callable[..., Fleet], grid: FleetGrid
) -> None:
    for node, partition in grid.nodes.items():
        # All but the first say that they are the first.
        grid.contexts[partition] = Context(
            run_id=1, node_id=node, node_config={"partition-id": 0}, state=RecordDict(), run_config={}
        )
    fleet = a_fleet(rounds=1, clients_per_round=6)
    fleet.resume(grid)
    assert fleet.who(1) == {f"d{partition}": "answered" for partition in grid.nodes.values()}


def test_no_device_is_let_in_to_the_partition_of_another(registry: Registry) -> None:
    able = devices.Capabilities(modalities=("text",), memory_mb=100, cores=1)

    def enroll(name: str, partition: int | None = None) -> devices.Device:
        token, key = tokens.make_token(registry), public_key(name)
        return devices.enroll(
            registry, token, name=name, public_key=key, capabilities=able, consent=True, partition=partition
        )

    assert [enroll("a").partition, enroll("b", 2).partition, enroll("c").partition, enroll("d").partition] == [
        *(0, 2, 1, 3)
    ]
    with pytest.raises(EnrolmentRefused, match="partition 2 is device 'b''s"):
        enroll("e", 2)
    devices.revoke(registry, "b", reason="lost")
    # Of a revoked one, only where somebody asks for it by name.
    assert enroll("f").partition == 4
    assert enroll("g", 2).partition == 2


def test_errors_of_all_devices_do_not_end_a_run_either_and_their_text_is_stored(
    a_fleet: Callable[..., Fleet], grid: FleetGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    monkeypatch.setattr(run_runner, "_ATTEMPTS", 50)
    monkeypatch.setattr(run_runner, "time", SimpleNamespace(sleep=tries.append))
    grid.change = lambda _, message, reply: (
        Message(Error(7, "\x00 no \ud800 room \x1b[2J"), reply_to=message) if len(tries) < 5 else reply
    )
    fleet = a_fleet(rounds=1)
    fleet.resume(grid)
    assert len(tries) == 5
    assert set(fleet.who(1).values()) >= {"answered"}
