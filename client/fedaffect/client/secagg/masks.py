"""Masks: long uniform vectors from short keys, added modulo 2^32 or 2^16.

AES-256 in counter mode, the whole key derived for one mask: a key stream is uniform over all bytes, hence over
all words of a ring whose size is a power of two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

# One word of the ring: uint32, or uint16 where updates are compressed.
Words: TypeAlias = NDArray[np.unsignedinteger[Any]]

# A stretch of the key stream and of the vector stay in the cache while every mask is added to it: half as long again
# where each mask goes over the whole vector by itself.
_STRETCH_BYTES = 1 << 17
_ZEROS = bytes(_STRETCH_BYTES)


def add_masks(vector: Words, masks: Iterable[tuple[bytes, int]]) -> None:
    """Add or subtract the masks of some keys, in place.

    Parameters
    ----------
    vector : uint32 or uint16 array, shape (V,)
        Contiguous; wraps around.
    masks : iterable of (bytes, int)
        Keys of 32 bytes, each used for nothing but its mask, and 1 to add it or -1 to subtract it.
    """
    streams = [
        (Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor(), np.add if sign > 0 else np.subtract)
        for key, sign in masks
    ]
    width = vector.dtype.itemsize
    # As written on a machine of the other byte order, too.
    order = vector.dtype.newbyteorder("<")
    # update_into wants a block more than it writes.
    buffer = bytearray(_STRETCH_BYTES + 16)
    words = np.frombuffer(buffer, dtype=order, count=_STRETCH_BYTES // width)
    zeros = memoryview(_ZEROS)
    for start in range(0, len(vector), len(words)):
        stretch = vector[start : start + len(words)]
        plain, drawn = zeros[: len(stretch) * width], words[: len(stretch)]
        for stream, combine in streams:
            stream.update_into(plain, buffer)
            combine(stretch, drawn, out=stretch, casting="unsafe")
