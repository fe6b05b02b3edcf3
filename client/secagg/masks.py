"""Masks: long uniform vectors from short keys, added modulo 2^32 or 2^16.

AES-256 in counter mode, the whole key derived for one mask: a key stream is uniform over all bytes, hence over
all words of a ring whose size is a power of two.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

# One word of the ring: uint32, or uint16 where updates are compressed.
Words: TypeAlias = NDArray[np.unsignedinteger[Any]]

# A stretch of the key stream and of the vector stay in the cache together.
_STRETCH_BYTES = 1 << 16
_ZEROS = bytes(_STRETCH_BYTES)


def add_mask(vector: Words, key: bytes, sign: int) -> None:
    """Add or subtract the mask of a key, in place.

    Parameters
    ----------
    vector : uint32 or uint16 array, shape (V,)
        Contiguous; wraps around.
    key : bytes
        32 bytes, used for nothing but this mask.
    sign : int
        1 adds, -1 subtracts.
    """
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    width = vector.dtype.itemsize
    # As written on a machine of the other byte order, too.
    order = vector.dtype.newbyteorder("<")
    # update_into wants a block more than it writes.
    buffer = bytearray(_STRETCH_BYTES + 16)
    words = np.frombuffer(buffer, dtype=order, count=_STRETCH_BYTES // width)
    combine = np.add if sign > 0 else np.subtract
    zeros = memoryview(_ZEROS)
    for start in range(0, len(vector), len(words)):
        stretch = vector[start : start + len(words)]
        stream.update_into(zeros[: len(stretch) * width], buffer)
        combine(stretch, words[: len(stretch)], out=stretch, casting="unsafe")
