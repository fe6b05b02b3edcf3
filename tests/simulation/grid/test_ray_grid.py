from __future__ import annotations

from pathlib import Path

import pytest
import ray
import torch
from flwr.app import Message, RecordDict
from tests.simulation.grid.conftest import CLIENTS, MODEL_OPTIONS, Messages, same_sum, total_of
from tests.support.faulty_task import ALWAYS_DIES, DIES_ONCE, FAULTY_CLIENT, RAISES
from torch import Tensor

from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.client.wire import (
    ARRAYS,
    CONFIG,
    CONTROL,
    CONTROL_SUMS,
    DIVERGED,
    METRICS,
    NUM_EXAMPLES,
    PARTIAL_AGGREGATION,
    SUMS,
    from_record,
    request_config,
)
from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.grid import RayGrid

SETTINGS = TrainConfig(lr=0.1, batch_size=4)


@pytest.fixture(scope="module")
def expected(task: ClientTask, weights: Tensor) -> FixedPointSum:
    """The same round without any grid, in this very process."""
    total = FixedPointSum(task.layout)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for client in range(CLIENTS):
        update = task.train(weights, SETTINGS, client, round=1, seed=0)
        total.add(update.weights, update.counts)
    torch.set_num_threads(threads)
    return total


def test_partial_sums_are_the_sum_of_all_clients(
    grid: RayGrid, messages: Messages, task: ClientTask, expected: FixedPointSum
) -> None:
    replies = list(grid.stream(messages(partial=True)))

    assert sorted(reply.metadata.src_node_id for reply in replies) == list(grid.get_node_ids())
    assert same_sum(total_of(task.layout, replies), expected)
    # One transfer an actor, not one a client.
    assert 1 <= sum(SUMS in reply.content for reply in replies) <= 2
    assert not any(ARRAYS in reply.content for reply in replies)
    assert sum(reply.content[METRICS][NUM_EXAMPLES] for reply in replies) == len(task.cohort.client_rows)


def test_without_partial_aggregation_each_client_sends_its_own_arrays(
    grid: RayGrid, messages: Messages, task: ClientTask, weights: Tensor, expected: FixedPointSum
) -> None:
    replies = list(grid.stream(messages()))

    assert not any(SUMS in reply.content for reply in replies)
    assert same_sum(total_of(task.layout, replies), expected)
    second = next(reply for reply in replies if reply.metadata.src_node_id == 2)
    alone = task.train(weights, SETTINGS, client=1, round=1, seed=0)
    assert torch.equal(from_record(task.layout, second.content[ARRAYS]), alone.weights)


def test_one_actor_gives_the_same_bits_as_two(
    connected: None, cohort_folder: Path, messages: Messages, task: ClientTask, expected: FixedPointSum
) -> None:
    with RayGrid(cohort_folder, actors=1) as single:
        assert same_sum(total_of(task.layout, list(single.stream(messages(partial=True)))), expected)
    # A grid leaves a Ray that it did not start.
    assert ray.is_initialized()


@pytest.mark.parametrize("partial", [True, False])
def test_a_client_that_raises_is_an_error_reply(
    grid: RayGrid, messages: Messages, task: ClientTask, partial: bool
) -> None:
    replies = list(grid.stream(messages(seed=RAISES, partial=partial)))

    failed = [reply for reply in replies if reply.has_error()]
    assert [reply.metadata.src_node_id for reply in failed] == [FAULTY_CLIENT + 1]
    assert "ZeroDivisionError: on purpose" in str(failed[0].error.reason)
    assert total_of(task.layout, replies).count == CLIENTS - 1


def test_a_killed_actor_is_replaced_and_its_clients_trained_again(
    grid: RayGrid, messages: Messages, task: ClientTask, cohort_folder: Path
) -> None:
    # The flag makes the faulty client an ordinary one: what the round gives when nobody dies.
    flag = cohort_folder.parent / "died"
    flag.touch()
    undisturbed = list(grid.stream(messages(seed=DIES_ONCE, partial=True)))
    replaced = grid.replaced_actors
    flag.unlink()

    replies = list(grid.stream(messages(seed=DIES_ONCE, partial=True)))

    assert grid.replaced_actors == replaced + 1
    assert not any(reply.has_error() for reply in replies)
    assert same_sum(total_of(task.layout, replies), total_of(task.layout, undisturbed))


def test_a_client_that_always_takes_its_actor_down_fails_alone(
    grid: RayGrid, messages: Messages, task: ClientTask
) -> None:
    replies = list(grid.stream(messages(seed=ALWAYS_DIES, partial=True)))

    failed = [reply for reply in replies if reply.has_error()]
    assert [reply.metadata.src_node_id for reply in failed] == [FAULTY_CLIENT + 1]
    assert "took 2 actors down" in str(failed[0].error.reason)
    assert len(replies) == CLIENTS
    assert total_of(task.layout, replies).count == CLIENTS - 1


def test_a_repeated_scaffold_round_starts_from_the_same_state(
    grid: RayGrid, messages: Messages, task: ClientTask
) -> None:
    control = torch.full((task.layout.size,), 0.01)

    def round_of(number: int) -> tuple[FixedPointSum, FixedPointSum]:
        replies = list(
            grid.stream(messages(round=number, control=control, algorithm="scaffold", optimizer="sgd", partial=True))
        )
        sums = FixedPointSum(task.layout)
        for reply in replies:
            if CONTROL_SUMS in reply.content:
                arrays = {name: array.numpy() for name, array in reply.content[CONTROL_SUMS].items()}
                sums.merge(FixedPointSum.from_arrays(task.layout, arrays))
        return total_of(task.layout, replies), sums

    round_of(1)
    arrays, controls = round_of(2)
    again, controls_again = round_of(2)

    assert controls.count == CLIENTS
    assert set(controls.weights.values()) == {CLIENTS}
    assert same_sum(arrays, again)
    assert same_sum(controls, controls_again)
    # The state of round 1 matters: without it round 2 would be another.
    stateless = [
        task.train(
            from_record(task.layout, messages(round=2)[0].content[ARRAYS]),
            TrainConfig(lr=0.1, batch_size=4, algorithm="scaffold"),
            client,
            round=2,
            seed=0,
            server_control=control,
        ).extra[CONTROL]
        for client in range(CLIENTS)
    ]
    fresh = FixedPointSum(task.layout)
    for change in stateless:
        fresh.add(change, {"": 1})
    assert not same_sum(fresh, controls)


def test_a_loss_that_is_no_number_says_so(grid: RayGrid, messages: Messages) -> None:
    (reply,) = grid.stream(messages(nodes=[1], lr=1e30, **{"local-epochs": 3}))

    assert reply.error.code == DIVERGED
    assert "lower --lr" in str(reply.error.reason)


def test_evaluate_and_query(grid: RayGrid, messages: Messages, task: ClientTask, weights: Tensor) -> None:
    (reply,) = grid.stream(messages("evaluate", nodes=[3]))
    rows = task.cohort.rows_of(2)
    result = task.evaluate(weights, rows)

    assert reply.content[METRICS]["confusion"] == result.confusion.reshape(-1).tolist()
    assert reply.content[METRICS]["loss"] == pytest.approx(result.loss_sum / len(rows))
    (reply,) = grid.stream(messages("query", nodes=[3]))
    assert dict(reply.content[METRICS]) == {"partition-id": 2, NUM_EXAMPLES: len(rows)}
    (reply,) = grid.stream([Message(RecordDict(), 3, "query")])
    assert dict(reply.content[METRICS]) == {"partition-id": 2}


def test_arrays_of_another_model_are_refused_with_a_reason(grid: RayGrid, messages: Messages) -> None:
    wrong = messages(nodes=[1])[0]
    wrong.content[ARRAYS].pop("head.bias")

    (reply,) = grid.stream([wrong])

    assert "head.bias" in str(reply.error.reason)


def test_a_node_that_does_not_exist_is_an_error_reply(grid: RayGrid) -> None:
    (reply,) = grid.stream([Message(RecordDict(), 99, "query")])
    assert "no node 99" in str(reply.error.reason)


def test_push_then_pull(grid: RayGrid, messages: Messages) -> None:
    ids = grid.push_messages(messages("query"))
    answered: set[str] = set()
    while len(answered) < CLIENTS:
        answered |= {reply.metadata.reply_to_message_id for reply in grid.pull_messages(ids)}
    assert answered == set(ids)
    assert grid.pull_messages(ids) == []


def test_leaving_a_stream_early_leaves_nothing_behind(
    grid: RayGrid, messages: Messages, task: ClientTask, expected: FixedPointSum
) -> None:
    stream = grid.stream(messages())
    next(stream)
    stream.close()  # type: ignore[attr-defined]

    assert same_sum(total_of(task.layout, list(grid.stream(messages(partial=True)))), expected)


def test_a_timeout_starts_no_more_clients(grid: RayGrid, messages: Messages, task: ClientTask) -> None:
    replies = list(grid.stream(messages(partial=True), timeout=0.0))

    assert len(replies) < CLIENTS
    assert total_of(task.layout, replies).count == len(replies)


def test_node_ids_are_partitions_in_order(grid: RayGrid) -> None:
    assert grid.get_node_ids() == range(1, CLIENTS + 1)
    partitions = grid.partition_ids(6)
    assert [partitions[node] for node in grid.get_node_ids()] == list(range(CLIENTS))
    assert len(partitions) == CLIENTS
    with pytest.raises(KeyError):
        partitions[0]


def test_more_actors_than_there_is_room_for(connected: None, cohort_folder: Path) -> None:
    with pytest.raises(ConfigError, match="Ray has room for 4 actors"):
        RayGrid(cohort_folder, actors=5)
    with pytest.raises(ConfigError, match="GPU"):
        RayGrid(cohort_folder, actors=1, gpus_per_actor=0.5)


def test_clients_train_at_once_where_the_grid_is_told_to(
    connected: None, cohort_folder: Path, messages: Messages
) -> None:
    # The model's own dropout would be drawn for all clients of a cohort together.
    options = {**MODEL_OPTIONS, "dropout": 0.0, "token_dropout": 0.0}
    plain = ClientTask(cohort_folder, "cmt", options)
    start, expected = plain.initial_weights(0), FixedPointSum(plain.layout)
    for client in range(CLIENTS):
        update = plain.train(start, SETTINGS, client, round=1, seed=0)
        expected.add(update.weights, update.counts)
    with RayGrid(cohort_folder, actors=1, cohort_size=4) as grid:
        asked = messages(arrays=start)
        settings = {"server-round": 1, "lr": 0.1, "batch-size": 4, PARTIAL_AGGREGATION: True}
        asked[0].content[CONFIG] = request_config(cohort_folder, "cmt", options, 0, settings)
        total = total_of(plain.layout, list(grid.stream(asked)))
    assert total.weights == expected.weights
    assert not torch.equal(total.total, expected.total), "the same bits would mean that they trained one by one"
    torch.testing.assert_close(total.mean(start), expected.mean(start), rtol=1e-3, atol=1e-5)
