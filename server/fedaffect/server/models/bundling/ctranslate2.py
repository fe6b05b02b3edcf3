"""Reads the weights of a CTranslate2 model file, without CTranslate2."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import BundleError

_SUPPORTED: Final = 6
_LARGEST_RANK: Final = 8
# CTranslate2's DataType, in its order; bfloat16 has no numpy type and is not read.
_TYPES: Final = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_variables(*parts: Path, prefix: str = "") -> dict[str, NDArray[np.float32]]:
    """Variables of a ``model.bin``, as FP32.

    The file is: version, name and revision of the model's specification, then for each variable its name, rank,
    dimensions, type, size in bytes and data, little-endian; then aliases, which are not read.

    Parameters
    ----------
    *parts : Path
        The file, or its pieces in order where it was cut for shipping; pieces are joined in memory.
    prefix : str
        Only variables whose names begin so; the others are passed over.

    Returns
    -------
    dict of str to float32 array
        By name, such as ``encoder/layer_0/ffn/linear_0/weight``.

    Raises
    ------
    BundleError
        If it is of another version, quantised with scales of its own, or cut short.
    """
    path = parts[0]
    with path.open("rb") if len(parts) == 1 else BytesIO(b"".join(part.read_bytes() for part in parts)) as file:
        try:
            (version,) = _unpack(file, "<I")
            if version != _SUPPORTED:
                raise BundleError(f"{path} is of CTranslate2 binary version {version}; only {_SUPPORTED} is read")
            _string(file)
            _unpack(file, "<I")
            (count,) = _unpack(file, "<I")
            found = (_variable(file, path, prefix) for _ in range(count))
            return dict(pair for pair in found if pair is not None)
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise BundleError(f"{path} is cut short or damaged ({error}); install its package again") from error


def _variable(file: BinaryIO, path: Path, prefix: str) -> tuple[str, NDArray[np.float32]] | None:
    name = _string(file)
    (rank,) = _unpack(file, "<B")
    if rank > _LARGEST_RANK:
        raise BundleError(f"{path}: {name!r} has rank {rank}; the file is damaged, install its package again")
    shape = _unpack(file, f"<{rank}I")
    kind, size = _unpack(file, "<BI")
    if not name.startswith(prefix):
        file.seek(size, 1)
        return None
    if kind not in _TYPES:
        raise BundleError(f"{path}: {name!r} is of data type {kind}, which is not read; use a float16 or float32 file")
    data = np.frombuffer(file.read(size), dtype=_TYPES[kind])
    return name, data.reshape(shape).astype(np.float32)


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<H")
    return file.read(length)[:-1].decode("utf-8")  # the last byte is C's zero


def _unpack(file: BinaryIO, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
