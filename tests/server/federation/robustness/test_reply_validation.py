"""Replies that hold anything at all: each is rejected with a reason, and nothing else is raised."""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import SType
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.compression.compress import codec, compress
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.update import Update
from fedaffect.client.wire import (
    ABOUT,
    ARRAYS,
    ATTEMPT,
    BASE,
    COMPRESSED,
    MASKED,
    METRICS,
    PAID,
    RUN,
    SECAGG,
    SERVER_ROUND,
    named_to_record,
    to_record,
)
from fedaffect.server.federation.robustness.reply_validation import (
    UpdateRejectedError,
    UpdateValidator,
    read_answered_round,
    read_error,
    read_evaluation,
    read_masked,
    read_paid,
    read_partition_id,
    read_payload,
)
from fedaffect.server.federation.run import run_federation
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import RunSettings

CLIENTS, BAD = 6, 2
LAYOUT = ArrayLayout(("adapters.text.weight", "head"), ((4,), (3,)))
GOOD = {"num-examples": 3, "num-examples.text": 2, "train_loss": 1.0}
Change = Callable[[RecordDict], None]


def message(content: RecordDict) -> Message:
    return Message(content, 1, "train")


def said(**metrics: object) -> Change:
    def change(content: RecordDict) -> None:
        content[METRICS] = MetricRecord({**GOOD, **{k.replace("__", "-"): v for k, v in metrics.items()}})  # type: ignore[dict-item]

    return change


def head(array: Array) -> Change:
    def change(content: RecordDict) -> None:
        content.array_records[ARRAYS]["head"] = array

    return change


def without_metrics(content: RecordDict) -> None:
    del content[METRICS]


def npy(shape: tuple[int, ...], data: bytes, descr: str = "<f4") -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def forged(dtype: str = "float32", shape: tuple[int, ...] = (3,), stype: str = SType.NUMPY, data: bytes = b"") -> Array:
    return Array(dtype, shape, stype, data or npy((3,), bytes(12)))


BROKEN: list[tuple[str, Change, str]] = [
    ("no metrics", without_metrics, "without metrics"),
    ("a list of counts", said(num__examples=[1, 2]), r"claims \[1, 2\] examples"),
    ("a list for the loss", said(train_loss=[1.0]), r"train_loss is \[1.0\], not a number"),
    ("a list within the clip", said(within__clip=[1.0]), r"within-clip is"),
    ("a huge loss", said(train_loss=1e300), "training loss is 1e"),
    ("a loss that is no number", said(train_loss=math.nan), "training loss is nan"),
    ("half an example", said(num__examples=1.5), "claims 1.5 examples"),
    ("too many examples", said(num__examples=2**62), "examples"),
    ("more of a modality than in all", said(**{"num__examples.text": 4}), "claims 4 examples"),
    ("an unknown dtype", head(forged(dtype="float33")), "float33"),
    ("another dtype than said", head(forged(data=npy((3,), bytes(24), "<f8"))), "float64"),
    ("garbage", head(forged(data=b"\x93NUMPY garbage")), "."),
    ("no bytes of an array", head(forged(data=b"\x00")), "."),
    ("a deep header", head(forged(data=b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000)), "."),
    ("a long header", head(forged(data=b"\x93NUMPY\x01\x00\x70\x17" + b"9" * 6_000)), "length .* is large"),
    ("40 TB", head(forged(shape=(10**13,), data=npy((10**13,), bytes(12)))), "announce 10000000000000 values"),
    ("objects", head(forged(data=npy((3,), bytes(24), "|O"))), "."),
    ("another serialisation", head(forged(stype="pickle\x00")), "'pickle'"),
    ("another shape", head(Array(np.zeros((1, 3), np.float32))), "shape"),
    ("infinity", head(Array(np.full(3, np.inf, np.float32))), "infinity"),
    ("huge numbers", head(Array(np.full(3, 1e30, np.float32))), "huge"),
]


def good() -> RecordDict:
    return RecordDict({ARRAYS: to_record(LAYOUT, torch.ones(7)), METRICS: MetricRecord(dict(GOOD))})


@pytest.mark.parametrize(("change", "why"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_whatever_an_update_holds_it_is_rejected_with_one_line(change: Change, why: str) -> None:
    content = good()
    assert torch.equal(UpdateValidator(LAYOUT).read(message(content)).arrays, torch.ones(7))  # type: ignore[arg-type]
    change(content)
    with pytest.raises(UpdateRejectedError, match=why) as caught:
        UpdateValidator(LAYOUT).read(message(content))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("spec", ["fp16", "int8", "top-k:0.5"])
def test_a_compressed_update_that_was_tampered_with_is_rejected(spec: str) -> None:
    chosen = codec(spec)
    assert chosen is not None
    start = torch.zeros(7)
    arrays = compress(chosen, start, Update(torch.ones(7), {}, {}), None, client=0, round=1, seed=0).arrays
    validator = UpdateValidator(LAYOUT, start, codec=chosen)

    def reply(changed: dict[str, Array]) -> Message:
        record = ArrayRecord({**named_to_record(arrays), **changed})
        return message(RecordDict({COMPRESSED: record, METRICS: MetricRecord(dict(GOOD))}))

    assert validator.read(reply({})).arrays is not None
    for name, array in arrays.items():
        for wrong in (
            Array(np.zeros(10, array.dtype)),
            Array(str(array.dtype), array.shape, SType.NUMPY, b"\x93NUMPY"),
            Array("no such", array.shape, SType.NUMPY, b""),
        ):
            with pytest.raises(UpdateRejectedError):
                validator.read(reply({name: wrong}))
    with pytest.raises(UpdateRejectedError, match="nobody asked"):
        UpdateValidator(LAYOUT).read(reply({}))


@pytest.mark.parametrize("partition", [math.nan, math.inf, -1, 2.0, [1], 2**40])
def test_a_partition_id_is_a_whole_number(partition: object) -> None:
    reply = message(RecordDict({METRICS: MetricRecord({"partition-id": partition})}))  # type: ignore[dict-item]
    with pytest.raises(UpdateRejectedError, match="partition id"):
        read_partition_id(reply)


def test_a_reply_of_any_other_kind_is_rejected_too() -> None:
    empty = message(RecordDict())
    for read in (read_partition_id, read_payload, read_answered_round):
        with pytest.raises(UpdateRejectedError):
            read(empty)
    with pytest.raises(UpdateRejectedError, match="without a masked update"):
        read_masked(empty, 4, np.uint32)
    with pytest.raises(UpdateRejectedError, match="without metrics"):
        read_evaluation(empty, 2)
    for array in (np.zeros(3, np.uint32), np.zeros(4, np.uint16), np.zeros((2, 2), np.uint32)):
        with pytest.raises(UpdateRejectedError):
            read_masked(message(RecordDict({MASKED: named_to_record({MASKED: array})})), 4, np.uint32)
    with pytest.raises(UpdateRejectedError):
        read_payload(message(RecordDict({SECAGG: ConfigRecord({"payload": "text"})})))
    for run, attempt in (("a\x00b", 1), ("a", -1), ("a", 1.5), (3, 1)):
        about = ConfigRecord({RUN: run, SERVER_ROUND: 1, ATTEMPT: attempt, BASE: "0"})
        with pytest.raises(UpdateRejectedError, match="does not say"):
            read_answered_round(message(RecordDict({ABOUT: about})))
    paid = ConfigRecord({"attempt": 1, "epsilon": math.nan, "delta": 1e-5, "noise-multiplier": 1.0})
    with pytest.raises(UpdateRejectedError, match="no line of a privacy ledger"):
        read_paid(message(RecordDict({PAID: paid})))


@pytest.mark.parametrize("cells", [[1, 0, 0], [1, 0, 0, -1], [5, 0, 0, 0], [0.5, 0.5, 0.0, 0.0], 1])
def test_a_confusion_matrix_counts_the_rows_that_it_is_of(cells: object) -> None:
    metrics = MetricRecord({"num-examples": 1, "loss": 1.0, "confusion": cells})  # type: ignore[dict-item]
    with pytest.raises(UpdateRejectedError):
        read_evaluation(message(RecordDict({METRICS: metrics})), 2)


def test_an_error_is_one_line_that_a_database_takes() -> None:
    reply = Message(Error(7, "no\x00 space\nleft \x1b[31mhere" + "!" * 1000), reply_to=message(RecordDict()))
    code, reason = read_error(reply)
    assert code == 7
    assert reason.startswith("no space left [31mhere!!")
    assert reason.isprintable()
    assert len(reason) == 300
    assert read_error(Message(Error(8, "\x00"), reply_to=message(RecordDict()))) == (8, "error code 8")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"strategy": "krum"}, {"mode": "async", "buffer_size": 3}], ids=str)
@pytest.mark.parametrize("change", [without_metrics, said(train_loss=1e300)], ids=["no metrics", "huge loss"])
def test_a_broken_reply_costs_its_sender_the_round_and_nobody_else(
    cohort_folder: Path, config_of: Callable[..., RunSettings], change: Change, settings: dict[str, object]
) -> None:
    class Forging(InProcessGrid):
        def _answer(self, asked: Message) -> Message:
            reply = super()._answer(asked)
            if self.nodes[asked.metadata.dst_node_id] == BAD and asked.metadata.message_type == "train":
                change(reply.content)
            return reply

    config = config_of(rounds=2, clients_per_round=CLIENTS, **settings)
    folder = RunFolder.create(config)
    summary = run_federation(Forging(CLIENTS), config, cohort_folder, folder)
    assert summary["rounds"] == 2
    assert summary["rejected_updates"] >= 1


@pytest.mark.parametrize("attempt", [1e300, 2.0**63, 2.0**31, -1.0, math.nan, math.inf])
def test_an_attempt_that_no_ledger_holds_is_no_line_of_one(attempt: float) -> None:
    paid = ConfigRecord({"attempt": attempt, "epsilon": 1.0, "delta": 1e-5, "noise-multiplier": 1.0})
    with pytest.raises(UpdateRejectedError, match="no line of a privacy ledger"):
        read_paid(Message(RecordDict({PAID: paid}), 1, "train"))
