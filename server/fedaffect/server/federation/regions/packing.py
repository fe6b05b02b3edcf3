"""Arrays of an order and of a sum as they travel between machines: those of a record as one.

Flower fetches every array by requests of its own, on every hop. A region's sums are whole numbers, and the root knows
none of a region's layouts, so unlike `fedaffect.client.wire.pack` names, types and shapes travel beside.
"""

from __future__ import annotations

import json
import math
from typing import Final

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from numpy.typing import NDArray

from fedaffect.client.wire import PACKED
from fedaffect.server.federation.robustness.reply_validation import UpdateRejectedError, array_values, rejecting

# The record that says what the others hold.
PACKING: Final = "packing"
_TYPES: Final = ("<f4", "<f8", "<i8", "<u4", "<u2")


def packed(content: RecordDict) -> RecordDict:
    """A content whose array records hold one array of bytes each."""
    records, about = RecordDict(dict(content)), {}
    for name, record in content.array_records.items():
        arrays = {key: array.numpy() for key, array in record.items()}
        about[name] = json.dumps([[key, array.dtype.str, list(array.shape)] for key, array in arrays.items()])
        data = np.frombuffer(b"".join(array.tobytes() for array in arrays.values()) or b"\0", np.uint8)
        records[name] = ArrayRecord({PACKED: Array(data)})
    if about:
        records[PACKING] = ConfigRecord({**about})
    return records


def unpacked(content: RecordDict) -> RecordDict:
    """What :func:`packed` packed; another content as it is.

    Raises
    ------
    UpdateRejectedError
        If the bytes are not those that the record beside them says.
    """
    if PACKING not in content.config_records:
        return content
    records = RecordDict({name: record for name, record in content.items() if name != PACKING})
    with rejecting():
        for name, said in content.config_records[PACKING].items():
            record = content.array_records[name]
            records[name] = _arrays(record, json.loads(str(said)))
    return records


def _arrays(record: ArrayRecord, said: list[tuple[str, str, list[int]]]) -> ArrayRecord:
    data: NDArray[np.uint8] = array_values(PACKED, record[PACKED], np.dtype(np.uint8))
    sizes = [math.prod(shape) * np.dtype(kind).itemsize for _, kind, shape in said]
    fine = all(kind in _TYPES and min(shape, default=0) >= 0 for _, kind, shape in said)
    if not fine or data.shape != (max(1, sum(sizes)),):
        raise UpdateRejectedError("its packed arrays are not those that it names")
    out, place = {}, 0
    for (key, kind, shape), size in zip(said, sizes, strict=True):
        part = data[place : place + size]
        out[key] = Array(np.frombuffer(part.tobytes(), kind).reshape(shape) if size else np.zeros(shape, kind))
        place += size
    return ArrayRecord(out)
