"""Replies of any structure, on every path: a round takes each, and goes on with what was honest."""

from __future__ import annotations

import math
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import SType
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.client.compression.compress import codec
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.errors import SecAggError
from fedaffect.client.secagg.protocol import KEYS, MASKED, SHARES
from fedaffect.client.secagg.session import Session
from fedaffect.client.wire import (
    ABOUT,
    ARRAYS,
    ATTEMPT,
    BASE,
    COMPRESSED,
    CONTROL,
    METRICS,
    PACKED,
    PAID,
    RUN,
    SECAGG,
    SERVER_ROUND,
    SUMS,
    to_record,
)
from fedaffect.client.wire import MASKED as MASKED_RECORD
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.robustness.reply_validation import (
    UpdateRejectedError,
    UpdateValidator,
    read_answered_round,
    read_evaluation,
    read_masked,
    read_paid,
    read_partition_id,
    read_payload,
    read_size,
)
from fedaffect.server.federation.secagg.attempt import Attempt

LAYOUT = ArrayLayout(("adapters.text.weight", "head"), ((4,), (3,)))

whole = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-2, 9))
numbers = st.one_of(whole, st.floats())
metric_values = st.one_of(numbers, st.lists(whole, max_size=5), st.lists(st.floats(), max_size=5))
config_values = st.one_of(numbers, st.booleans(), st.text(max_size=20), st.binary(max_size=200))
metric_names = st.sampled_from(
    ["num-examples", "num-examples.text", "train_loss", "within-clip", "loss", "confusion", "partition-id", "other"]
)
config_names = st.sampled_from(["payload", RUN, SERVER_ROUND, ATTEMPT, BASE, "epsilon", "delta", "noise-multiplier"])
dtypes = st.sampled_from(["float32", "<f4", "float64", "uint32", "uint16", "int64", "O", "float33", "", "V3", "(3,)f4"])
shapes = st.lists(st.sampled_from([0, 1, 3, 4, 7, 10**13, -1]), max_size=3).map(tuple)


@st.composite
def npy(draw: st.DrawFn) -> bytes:
    file = BytesIO()
    header = {"descr": draw(dtypes), "fortran_order": draw(st.booleans()), "shape": draw(shapes)}
    try:
        np.lib.format.write_array_header_1_0(file, header)
    except ValueError:
        return b""
    return file.getvalue() + draw(st.one_of(st.binary(max_size=40), st.sampled_from([bytes(12), bytes(16), bytes(28)])))


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    if draw(st.booleans()):
        shape = draw(st.sampled_from([(3,), (4,), (7,), (), (1, 3)]))
        value = draw(st.sampled_from([0.0, 1.0, math.nan, math.inf, 1e30, -1e18]))
        return Array(np.full(shape, value, draw(st.sampled_from([np.float32, np.float64]))))
    stype = draw(st.sampled_from([SType.NUMPY, SType.NUMPY, SType.NUMPY, "pickle", ""]))
    return Array(draw(dtypes), draw(shapes), stype, draw(st.one_of(npy(), st.binary(max_size=60))))


array_names = st.sampled_from([*LAYOUT.names, PACKED, MASKED_RECORD, "other"])
records = st.one_of(
    st.dictionaries(metric_names, metric_values, max_size=5).map(MetricRecord),
    st.dictionaries(config_names, config_values, max_size=5).map(ConfigRecord),
    st.dictionaries(array_names, arrays(), max_size=3).map(ArrayRecord),
)
record_names = st.sampled_from(
    [ARRAYS, METRICS, CONTROL, COMPRESSED, SUMS, SECAGG, MASKED_RECORD, ABOUT, PAID, "other"]
)
contents = st.dictionaries(record_names, records, max_size=5)


@st.composite
def nearly_good(draw: st.DrawFn) -> dict[str, MetricRecord | ConfigRecord | ArrayRecord]:
    """An honest reply of which something was changed, which gets further than noise."""
    good = {
        ARRAYS: to_record(LAYOUT, torch.ones(7)),
        METRICS: MetricRecord({"num-examples": 3, "num-examples.text": 2, "train_loss": 1.0}),
    }
    changed = draw(st.sampled_from(["arrays", "metrics", "record"]))
    if changed == "arrays":
        good[ARRAYS][draw(array_names)] = draw(arrays())  # type: ignore[index]
    elif changed == "metrics":
        good[METRICS][draw(metric_names)] = draw(metric_values)  # type: ignore[index]
    else:
        good[draw(record_names)] = draw(records)  # type: ignore[assignment]
    return good  # type: ignore[return-value]


@st.composite
def replies(draw: st.DrawFn) -> Message:
    asked = Message(RecordDict(), 1, "train")
    if draw(st.integers(0, 9)) == 0:
        return Message(Error(draw(st.integers(-(2**31), 2**31 - 1)), draw(st.text())), reply_to=asked)
    return Message(RecordDict(draw(st.one_of(contents, nearly_good()))), reply_to=asked)


def honest() -> Message:
    metrics = MetricRecord({"num-examples": 3, "num-examples.text": 2, "train_loss": 1.0})
    return Message(RecordDict({ARRAYS: to_record(LAYOUT, torch.ones(7)), METRICS: metrics}), 1, "train")


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(replies(), st.booleans(), st.booleans(), st.sampled_from(["", "int8", "top-k:0.5"]))
def test_any_reply_is_counted_or_rejected_and_the_honest_ones_count(
    reply: Message, needs_mean_only: bool, uniform: bool, compression: str
) -> None:
    start = torch.zeros(7)
    validator = UpdateValidator(LAYOUT, start, codec=codec(compression) if compression else None)
    received = RoundReplies(validator, needs_mean_only, ("a", "b"), 1, uniform)
    received.take(reply, 0)
    received.take(honest(), 1)
    assert received.clients >= 1
    assert math.isfinite(received.train_loss)
    found = received.for_strategy(start)
    for message in found:
        assert all(np.isfinite(array.numpy()).all() for array in message.content.array_records[ARRAYS].values())
    assert all(why.isprintable() for _, why in received.failures)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(replies())
def test_every_reader_gives_checked_values_or_rejects(reply: Message) -> None:
    for read in (
        read_partition_id,
        read_payload,
        read_answered_round,
        read_paid,
        read_size,
        lambda reply: read_evaluation(reply, 2),
        lambda reply: read_masked(reply, 3, np.uint32),
    ):
        if reply.has_error():
            continue
        with suppress(UpdateRejectedError):
            read(reply)


@pytest.mark.parametrize("stage", [KEYS, SHARES, MASKED])
@settings(max_examples=100, deadline=None)
@given(payload=st.one_of(st.binary(max_size=200), st.integers(0, 300).map(bytes)))
def test_any_payload_of_a_secure_sum_is_taken_or_refused(stage: str, payload: bytes) -> None:
    attempt = Attempt(Session("run", 1, 1), 3)
    if stage != KEYS:
        for client in range(3):
            attempt.take_keys(client, bytes([client + 1]) * 96)
        attempt.close_keys()
    take = {KEYS: attempt.take_keys, SHARES: attempt.take_shares}.get(stage)
    reply = Message(RecordDict({SECAGG: ConfigRecord({"payload": payload})}), 1, "train")
    with suppress(SecAggError, UpdateRejectedError):
        if take is not None:
            take(0, read_payload(reply))
        else:
            read_masked(reply, 3, np.uint32)
