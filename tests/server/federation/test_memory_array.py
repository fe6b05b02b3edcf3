from __future__ import annotations

import numpy as np
from flwr.app import Array, ArrayRecord

from fedaffect.server.federation.memory_array import memory_record


def test_the_array_itself_comes_back() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert memory_record({"a": values})["a"].numpy() is values


def test_serialised_it_is_flowers_own_array() -> None:
    values = np.arange(6, dtype=np.int64).reshape(2, 3)
    record = memory_record({"a": values})
    plain = ArrayRecord({"a": Array(values)})

    assert record["a"].data == plain["a"].data
    assert (record["a"].dtype, record["a"].shape, record["a"].stype) == ("int64", (2, 3), plain["a"].stype)
    assert record.object_id == plain.object_id
    assert record.count_bytes() == plain.count_bytes()
    np.testing.assert_array_equal(record.to_numpy_ndarrays()[0], values)
