from __future__ import annotations

import weakref
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict
from torch import Tensor

from fedaffect.client.fixed_point import FixedPointSum
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import ARRAYS, CONTROL, DIVERGED, METRICS, SUMS, named_to_record, to_record
from fedaffect.edge.errors import TrainingError
from fedaffect.server.federation.aggregation import RoundReplies, to_vector, wire_bytes
from fedaffect.server.federation.robustness.reply_validation import UpdateValidator

NAMES = ("ann", "bob", "cyd", "dan")
LAYOUT = ArrayLayout(("adapters.text.weight", "adapters.audio.weight", "head"), ((4,), (2,), (3,)))
TEXT, AUDIO, HEAD = slice(0, 4), slice(4, 6), slice(6, 9)


def reply(
    flat: Tensor | None, *, examples: int = 1, text: int | None = None, audio: int | None = None, loss: float = 1.0
) -> Message:
    counts = {"text": examples if text is None else text, "audio": examples if audio is None else audio}
    metrics = {"num-examples": examples, **{f"num-examples.{k}": n for k, n in counts.items()}, "train_loss": loss}
    content = RecordDict({METRICS: MetricRecord(metrics)})
    if flat is not None:
        content[ARRAYS] = to_record(LAYOUT, flat)
    return Message(content, reply_to=request())


def request() -> Message:
    return Message(RecordDict(), dst_node_id=5, message_type="train")


def received(needs_mean_only: bool = True) -> RoundReplies:
    return RoundReplies(UpdateValidator(LAYOUT, partial_sums=True), needs_mean_only, NAMES, round_number=7)


def averaged(round_replies: RoundReplies, current: Tensor) -> Tensor:
    (message,) = round_replies.for_strategy(current)
    return to_vector(LAYOUT, message.content.array_records[ARRAYS])


def test_adapters_count_only_examples_that_had_their_modality() -> None:
    one, two, current = torch.full((9,), 1.0), torch.full((9,), 4.0), torch.full((9,), -7.0)
    replies = received()
    replies.take(reply(one, examples=2, text=2, audio=0, loss=1.0), 0)
    replies.take(reply(two, examples=1, text=1, audio=0, loss=4.0), 1)
    mean = averaged(replies, current)
    assert torch.equal(mean[TEXT], torch.full((4,), 2.0))
    assert torch.equal(mean[HEAD], torch.full((3,), 2.0))
    # Nobody heard anything: the audio adapter stays.
    assert torch.equal(mean[AUDIO], current[AUDIO])
    assert replies.train_loss == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("flat", "examples"), [(1.0, 2**31 - 1), (0.3, 2**30), (1e5, 2_000), (-2e5, 2_000)], ids=lambda v: f"{v:g}"
)
def test_one_that_claims_many_examples_does_not_take_the_room_of_the_others(flat: float, examples: int) -> None:
    honest = torch.full((9,), 0.5)
    replies = received()
    replies.asked = 4
    replies.take(reply(torch.full((9,), flat), examples=examples), 0)
    for client in (1, 2, 3):
        replies.take(reply(honest, examples=300), client)
    assert list(replies.rejected) == ["ann"]
    assert torch.equal(averaged(replies, torch.zeros(9)), honest)


def test_the_order_of_replies_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    sent = [(reply(torch.from_numpy(rng.normal(size=9).astype(np.float32)), examples=k + 1, loss=rng.random()), k)
            for k in range(4)]  # fmt: skip
    results = set()
    for order in permutations(sent):
        replies = received()
        for message, client in order:
            replies.take(message, client)
        results.add((averaged(replies, torch.zeros(9)).numpy().tobytes(), replies.train_loss))
    assert len(results) == 1


def test_partial_sums_equal_individual_replies() -> None:
    rng = np.random.default_rng(1)
    vectors = [torch.from_numpy(rng.normal(size=9).astype(np.float32)) for _ in range(3)]
    single, summed = received(), received()
    chunk = FixedPointSum(LAYOUT)
    for client, vector in enumerate(vectors):
        single.take(reply(vector, examples=client + 1), client)
        chunk.add(vector, {"": client + 1})
    first = reply(None, examples=1)
    first.content[SUMS] = named_to_record(chunk.to_arrays())
    for client, message in enumerate((first, reply(None, examples=2), reply(None, examples=3))):
        summed.take(message, client)
    assert torch.equal(averaged(single, torch.zeros(9)), averaged(summed, torch.zeros(9)))
    # A device sends its arrays, whether or not the simulation sums them: the size is the same.
    assert summed.bytes_up(torch.zeros(9)) == single.bytes_up(torch.zeros(9)) == wire_bytes(reply(vectors[0]).content)


def test_updates_lost_from_a_partial_sum_are_noticed() -> None:
    replies = received()
    replies.take(reply(None), 0)
    with pytest.raises(TrainingError, match="1 replies but sums of 0"):
        replies.for_strategy(torch.zeros(9))


def test_replies_are_dropped_as_they_come_where_a_mean_is_enough() -> None:
    alive: list[weakref.ref[Message]] = []
    most = 0
    replies = received()
    for client in range(50):
        message = reply(torch.zeros(9))
        alive.append(weakref.ref(message))
        replies.take(message, client % 4)
        del message
        most = max(most, sum(ref() is not None for ref in alive))
    assert most == 0
    assert replies.clients == 50
    kept = received(needs_mean_only=False)
    for client in range(4):
        kept.take(reply(torch.zeros(9)), client)
    assert len(kept.for_strategy(torch.zeros(9))) == 4


def test_robust_strategies_get_replies_in_the_order_of_clients() -> None:
    replies = received(needs_mean_only=False)
    for client in (2, 0, 3):
        replies.take(reply(torch.full((9,), float(client)), examples=client + 1), client)
    messages = replies.for_strategy(torch.zeros(9))
    assert [float(m.content.array_records[ARRAYS]["head"].numpy()[0]) for m in messages] == [0.0, 2.0, 3.0]


def test_control_variates_are_averaged_over_clients_not_examples() -> None:
    replies = received()
    for client, (change, examples) in enumerate(((1.0, 1), (3.0, 99))):
        message = reply(torch.zeros(9), examples=examples)
        message.content[CONTROL] = to_record(LAYOUT, torch.full((9,), change))
        replies.take(message, client)
    (message,) = replies.for_strategy(torch.zeros(9))
    assert torch.equal(to_vector(LAYOUT, message.content.array_records[CONTROL]), torch.full((9,), 2.0))
    assert message.content.metric_records[METRICS]["num-clients"] == 2


@pytest.mark.parametrize("needs_mean_only", [True, False])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_names_client_round_and_remedy(needs_mean_only: bool, bad: float) -> None:
    vector = torch.zeros(9)
    vector[5] = bad
    broken = Message(RecordDict(dict(reply(None).content)), reply_to=request())
    broken.content[ARRAYS] = ArrayRecord({k: Array(v) for k, v in LAYOUT.unflatten(vector).items()})
    for message, client, why in (
        (broken, 2, r"client 'cyd' .*round 7.*lower the learning rate"),
        (reply(torch.zeros(9), loss=bad), 1, r"client 'bob' .*round 7: its training loss is .*--lr"),
        (Message(Error(DIVERGED, "the loss went away"), reply_to=request()), 0, r"client 'ann' .*round 7: the loss"),
    ):
        replies = received(needs_mean_only)
        replies.take(message, client)
        with pytest.raises(TrainingError, match=why):
            replies.for_strategy(torch.zeros(9))
        # One that learned something carries the round.
        replies.take(reply(torch.ones(9)), 3)
        assert len(replies.for_strategy(torch.zeros(9))) == 1
        assert len(replies.failures) == 1


def test_errors_are_counted_and_all_errors_stop_the_round() -> None:
    replies = received()
    replies.take(Message(Error(1, "flat battery"), reply_to=request()), 3)
    with pytest.raises(TrainingError, match=r"no client finished round 7: client 'dan' .*flat battery"):
        replies.for_strategy(torch.zeros(9))
    replies.take(reply(torch.ones(9)), 0)
    assert torch.equal(averaged(replies, torch.zeros(9)), torch.ones(9))
    assert replies.failures == [(3, "flat battery")]


def test_a_round_without_any_example_changes_nothing() -> None:
    replies = received()
    replies.take(reply(torch.ones(9), examples=0), 0)
    assert replies.for_strategy(torch.zeros(9)) == []
    assert np.isnan(replies.train_loss)


def test_a_strategys_float64_comes_back_as_float32_and_its_nan_is_refused() -> None:
    arrays = {name: array.astype(np.float64) + 0.1 for name, array in LAYOUT.unflatten(torch.zeros(9)).items()}
    assert to_vector(LAYOUT, named_to_record(arrays)).dtype == torch.float32
    arrays["head"][0] = np.nan
    with pytest.raises(TrainingError, match="strategy"):
        to_vector(LAYOUT, named_to_record(arrays))


def test_sizes_on_the_wire_are_those_of_flowers_own_serialisation(tmp_path: Path) -> None:
    from flwr.common.serde import recorddict_to_proto

    content = reply(torch.zeros(9)).content
    (tmp_path / "message").write_bytes(recorddict_to_proto(content).SerializeToString())
    assert wire_bytes(content) == (tmp_path / "message").stat().st_size
