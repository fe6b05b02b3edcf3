"""Arrays of orders and sums as one, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedaffect.client.wire import PACKED
from fedaffect.server.federation.regions.packing import PACKING, packed, unpacked
from fedaffect.server.federation.robustness.reply_validation import UpdateRejectedError


def content() -> RecordDict:
    arrays = {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "count": np.array(7, np.int64),
        "nothing": np.zeros((0, 4), np.float32),
        "words": np.array([1, 2**32 - 1], np.uint32),
        "reach": np.array([0.5]),
    }
    record = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    return RecordDict({"arrays": record, "region": ConfigRecord({"clients": [1, 2]})})


def test_what_was_packed_comes_back() -> None:
    sent = packed(content())
    assert list(sent.array_records["arrays"]) == [PACKED]
    back = unpacked(sent)
    assert set(back) == {"arrays", "region"}
    for name, array in content().array_records["arrays"].items():
        found = back.array_records["arrays"][name].numpy()
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, tuple(array.shape), array.numpy().tobytes())
    assert unpacked(plain := content()) is plain


@pytest.mark.parametrize(
    "said",
    [
        [["weight", "<f4", [2**40]]],
        [["weight", "<f4", [-2, -3]]],
        [["weight", "|O", [1]]],
        [["weight", "<f4"]],
        "words",
        [],
    ],
)
def test_what_is_not_what_it_says_is_rejected(said: Any) -> None:
    sent = packed(content())
    sent[PACKING] = ConfigRecord({"arrays": json.dumps(said)})
    with pytest.raises(UpdateRejectedError):
        unpacked(sent)


def test_a_record_that_is_not_there_is_rejected() -> None:
    sent = packed(content())
    sent[PACKING] = ConfigRecord({"others": json.dumps([])})
    with pytest.raises(UpdateRejectedError):
        unpacked(sent)
