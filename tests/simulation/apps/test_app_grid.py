from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from tests.support.flower_app import FAULTY, NODES, app, arrays_of, asked, new_net

from fedaffect.client.flower_compat.names import ErrorCode
from fedaffect.edge.errors import ConfigError
from fedaffect.simulation import run_simulation
from fedaffect.simulation.apps import AppGrid
from fedaffect.simulation.apps.contents import divide
from fedaffect.simulation.grid.dispatch import Chunk, Dispatcher

ONE_CPU = {"num_cpus": 1}


@pytest.fixture(scope="module")
def grid(connected: None) -> Iterator[AppGrid]:
    # Tests with grids of their own come first, while Ray has room for them.
    with AppGrid(app, NODES, resources={"num_cpus": 2}, attempts=2, run_config={"lr": 0.1}) as grid:
        yield grid


def test_a_state_goes_on_from_round_to_round_and_only_of_those_asked(connected: None) -> None:
    with AppGrid(app, 10_000, resources={"num_cpus": 4}) as many:
        assert len(many.get_node_ids()) == 10_000
        nodes = [9_999, 4]
        rounds = [many.send_and_receive(asked(nodes=nodes)) for _ in range(3)]

        assert [[r.content["metrics"]["rounds"] for r in replies] for replies in rounds] == [[1, 1], [2, 2], [3, 3]]
        assert sorted(many._contexts) == [3, 9_998]
        assert not many._rounds
        assert not many._turns
        assert not many._unanswered


@pytest.mark.parametrize("resources", [{"num_cpus": 4}, {"num_cpus": 1}])
def test_whoever_may_have_taken_an_actor_down_is_asked_alone(
    connected: None, resources: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_with: list[tuple[int, list[int]]] = []
    call = Dispatcher._call

    def noted(self: Dispatcher[Any], seat: Any, chunk: Chunk) -> None:
        owed = [*seat.summed, *(other for _, other in seat.calls)]
        if chunk.attempts or any(other.attempts for other in owed):
            asked_with.append((chunk.clients[0], [client for other in owed for client in other.clients]))
        call(self, seat, chunk)

    monkeypatch.setattr(Dispatcher, "_call", noted)
    with AppGrid(app, NODES, resources=resources, attempts=3) as few:
        replies = few.send_and_receive(asked("train.dies"))

    assert [reply.metadata.src_node_id for reply in replies if reply.has_error()] == [FAULTY + 1]
    assert FAULTY in {client for client, _ in asked_with}
    assert not [others for _, others in asked_with if others]


def test_a_reply_to_no_message_is_an_error_reply(connected: None) -> None:
    echo = ClientApp()
    echo.query()(lambda message, context: message)
    with AppGrid(echo, 1, resources=ONE_CPU) as single:
        (reply,) = single.send_and_receive(asked("query", nodes=[1]))
        (nobody,) = single.send_and_receive(asked("query", nodes=[2]))
    assert "returned no reply" in str(reply.error.reason)
    assert nobody.error.code == ErrorCode.NODE_UNAVAILABLE


def test_a_server_app_that_fails_is_the_error(connected: None) -> None:
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        run_simulation(server, app, 2, backend_config={"client-resources": {"num-cpus": 1}})


def test_settings_that_cannot_be(connected: None) -> None:
    with pytest.raises(ConfigError, match="at least one node"):
        AppGrid(app, 0)
    with pytest.raises(ConfigError, match="GPU"):
        AppGrid(app, 2, resources={"num_cpus": 1, "num_gpus": 0.5})
    with pytest.raises(ConfigError, match="known: ray"):
        run_simulation(ServerApp(), app, 2, backend_name="rya")
    with pytest.raises(ConfigError, match="client_resources"):
        run_simulation(ServerApp(), app, 2, backend_config={"clients": 2})


def test_a_client_may_change_its_message_in_place(grid: AppGrid) -> None:
    messages = asked()
    before = {name: array.data for name, array in messages[0].content["arrays"].items()}

    replies = grid.send_and_receive(messages)

    assert [reply.metadata.src_node_id for reply in replies] == [*grid.get_node_ids()]
    assert not any(reply.has_error() for reply in replies)
    assert {name: array.data for name, array in messages[0].content["arrays"].items()} == before
    assert messages[0].content["config"]["lr"] == 0.1


def test_a_client_that_raises_is_an_error_reply(grid: AppGrid) -> None:
    replies = grid.send_and_receive(asked("evaluate"))

    failed = [reply for reply in replies if reply.has_error()]
    assert [reply.metadata.src_node_id for reply in failed] == [FAULTY + 1]
    assert failed[0].error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert "ZeroDivisionError: on purpose (tests/support/flower_app.py:" in str(failed[0].error.reason)
    assert replies[0].content["metrics"]["partition-id"] == 0
    assert replies[0].content["metrics"]["num-partitions"] == NODES
    # Its lifespan, its mod, and no GPU where none was reserved.
    assert replies[0].content["metrics"]["lifespans"] == 1
    assert replies[0].content["metrics"]["visible-gpus"] == 0
    assert replies[0].content["mod"]["seen"] == "evaluate"


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("query.nothing", ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "content"),
        ("query.config", ErrorCode.UNKNOWN, "use context.state"),
        ("query.unknown", ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "No query function registered with name 'unknown'"),
    ],
)
def test_what_an_app_may_not_do_is_an_error_reply(grid: AppGrid, kind: str, code: int, reason: str) -> None:
    (reply,) = grid.send_and_receive(asked(kind, nodes=[1]))
    assert reply.error.code == code
    assert reason in str(reply.error.reason)


def test_a_killed_actor_is_replaced_and_no_state_is_lost(grid: AppGrid, tmp_path: Path) -> None:
    flag = tmp_path / "died"
    kept = dict(grid._contexts)
    flag.touch()
    undisturbed = grid.send_and_receive(asked("train.dies", flag=str(flag)))
    grid._contexts = kept
    replaced = grid.replaced_actors
    flag.unlink()

    replies = grid.send_and_receive(asked("train.dies", flag=str(flag)))

    assert grid.replaced_actors == replaced + 1
    assert arrays_of(replies) == arrays_of(undisturbed)
    assert [r.content["metrics"]["rounds"] for r in replies] == [r.content["metrics"]["rounds"] for r in undisturbed]


def test_a_client_that_always_takes_its_actor_down_fails_alone(grid: AppGrid) -> None:
    replies = grid.send_and_receive(asked("train.dies"))

    failed = [reply for reply in replies if reply.has_error()]
    assert [reply.metadata.src_node_id for reply in failed] == [FAULTY + 1]
    assert failed[0].error.code == ErrorCode.CLIENT_APP_CRASHED
    assert "took 2 actors down" in str(failed[0].error.reason)
    assert len(replies) == NODES


def test_a_node_answers_in_the_order_in_which_it_was_asked(grid: AppGrid) -> None:
    ids = [
        *grid.push_messages([Message(RecordDict(), 2, "query.count", group_id=str(n)) for n in range(3)]),
        *grid.push_messages([Message(RecordDict(), 2, "query.count", group_id="3")]),
    ]
    replies: dict[str, Message] = {}
    until = time.monotonic() + 60
    while len(replies) < len(ids) and time.monotonic() < until:
        replies |= {reply.metadata.reply_to_message_id: reply for reply in grid.pull_messages(ids)}
    assert replies[ids[-1]].content["seen"]["rounds"] == ["0", "1", "2", "3"]
    assert grid.pull_messages(ids) == []


def test_who_has_not_started_in_time_never_does(grid: AppGrid) -> None:
    assert grid.send_and_receive(asked(), timeout=0.0) == []
    (reply,) = grid.send_and_receive([Message(RecordDict(), 1, "query", ttl=1e-3)])
    assert reply.has_content() or reply.error.code == ErrorCode.REPLY_MESSAGE_UNAVAILABLE
    # Late answers go nowhere, and their nodes answer again.
    assert not any(reply.has_error() for reply in grid.send_and_receive(asked("query")))
    assert not grid._mailbox
    assert not grid._turns


def test_waiting_for_actors_takes_nothing_of_the_clients_time(grid: AppGrid, monkeypatch: pytest.MonkeyPatch) -> None:
    gather = grid._workforce.gather

    def slowly(*which: Any) -> None:
        time.sleep(8)
        gather(*which)

    monkeypatch.setattr(grid._workforce, "gather", slowly)
    assert len(grid.send_and_receive(asked("query", nodes=[1]), timeout=7.5)) == 1


def test_one_message_sent_twice_is_answered_twice(grid: AppGrid) -> None:
    (message,) = asked("query", nodes=[1])
    first, second = grid.send_and_receive([message, message], timeout=60)
    assert first.metadata.reply_to_message_id != second.metadata.reply_to_message_id
    assert second.metadata.reply_to_message_id == message.metadata.message_id


def test_what_messages_share_is_sent_once() -> None:
    arrays, same = ArrayRecord(new_net().state_dict()), ConfigRecord({"lr": 0.1})
    messages = [
        Message(RecordDict({"config": ConfigRecord({"seed": node}), "arrays": arrays, "same": same}), node, "train")
        for node in (1, 2)
    ]
    shared, parts = divide(messages)
    assert [id(record) for record in shared] == [id(arrays), id(same)]
    assert [part for _, part in parts[2]] == [messages[1].content["config"], 0, 1]
    one = divide(messages[:1])
    assert one[0] == []
