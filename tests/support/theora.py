"""Theora films made bit by bit, since no encoder for them comes with PyAV: grey pictures, and packets of no bytes.

Xiph.org, "Theora Specification" (2017), sections 6 and 7. The films use a tenth of the format: one quantiser, Huffman
tables of two codes, and pictures whose coefficients are all 0, which is grey of level 128.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAGIC = b"theora"
_SHIFT = 6
# Token of section 7.7: the rest of all blocks is empty, where the twelve bits after it are 0.
_ALL_EMPTY = 6


class _Bits:
    def __init__(self) -> None:
        self._bits: list[int] = []

    def put(self, value: int, count: int) -> _Bits:
        self._bits += [value >> place & 1 for place in reversed(range(count))]
        return self

    def bytes(self) -> bytes:
        bits = self._bits + [0] * (-len(self._bits) % 8)
        return bytes(int("".join(map(str, bits[at : at + 8])), 2) for at in range(0, len(bits), 8))


def still_film(packets: Sequence[bool], rate_hz: int = 10, side: int = 64) -> bytes:
    """A film as Ogg.

    Parameters
    ----------
    packets : sequence of bool
        Whether each packet holds a picture; one that does not has no bytes, and shows the picture before it again.
    rate_hz : int
        Packets a second.
    side : int
        Of the pictures, in pixels; a multiple of 16.
    """
    headers = [_identification(rate_hz, side), _comment(), _setup()]
    pages = [_page([headers[0]], 0, 0, 2), _page(headers[1:], 1, 0, 0)]
    key = 0
    for place, shows in enumerate(packets):
        key = place + 1 if shows else key
        granule = key << _SHIFT | (place + 1 - key)
        pages.append(_page([_picture() if shows else b""], place + 2, granule, 4 if place == len(packets) - 1 else 0))
    return b"".join(pages)


def _identification(rate_hz: int, side: int) -> bytes:
    bits = _Bits().put(0x030201, 24).put(side // 16, 16).put(side // 16, 16).put(side, 24).put(side, 24).put(0, 16)
    bits.put(rate_hz, 32).put(1, 32).put(1, 24).put(1, 24).put(0, 8).put(0, 24).put(0, 6).put(_SHIFT, 5)
    return b"\x80" + _MAGIC + bits.put(0, 2).put(0, 3).bytes()


def _comment() -> bytes:
    return b"\x81" + _MAGIC + struct.pack("<I4sI", 4, b"test", 0)


def _setup() -> bytes:
    bits = _Bits().put(0, 3)
    for _ in ("scales of AC", "scales of DC"):
        bits.put(6, 4)
        for _ in range(64):
            bits.put(100, 7)
    bits.put(0, 9)
    for _ in range(64):
        bits.put(16, 8)
    # One range of quantisers over all of them, for every kind and plane: the first says so, the others copy it.
    bits.put(0, 1).put(62, 6).put(0, 1)
    for kind in range(2):
        for plane in range(3):
            if kind or plane:
                bits.put(0, 1)
                if kind:
                    bits.put(0, 1)
    for _ in range(80):
        bits.put(0, 1).put(1, 1).put(_ALL_EMPTY, 5).put(1, 1).put(9, 5)
    return b"\x82" + _MAGIC + bits.bytes()


def _picture() -> bytes:
    """An intra picture: quantiser 32, tables 0, and one token for the whole of it."""
    bits = _Bits().put(0, 1).put(0, 1).put(32, 6).put(0, 1).put(0, 3)
    return bits.put(0, 4).put(0, 4).put(0, 1).put(0, 12).put(0, 4).put(0, 4).put(0, 16).bytes()


def _page(packets: Sequence[bytes], number: int, granule: int, flags: int) -> bytes:
    """A page of Ogg that holds whole packets."""
    laces = b"".join(bytes([255] * (len(packet) // 255) + [len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 1, number, 0) + bytes([len(laces)]) + laces
    page = bytearray(head + b"".join(packets))
    page[22:26] = struct.pack("<I", _checksum(page))
    return bytes(page)


def _checksum(page: bytes | bytearray) -> int:
    """CRC-32 of Ogg: polynomial 0x04C11DB7, neither reflected nor inverted."""
    found = 0
    for byte in page:
        found ^= byte << 24
        for _ in range(8):
            found = (found << 1 ^ 0x04C11DB7 if found & 0x80000000 else found << 1) & 0xFFFFFFFF
    return found
