"""Small messages of the protocol as bytes: entries, each with a client's id before it."""

from __future__ import annotations

from collections.abc import Mapping

from fedaffect.client.secagg.errors import SecAggError

ID_BYTES = 4
_LENGTH_BYTES = 2


def pack(entries: Mapping[int, bytes]) -> bytes:
    """Entries by client id, ascending.

    Parameters
    ----------
    entries : mapping of int to bytes
        All of one length; ids of 0 or more, below 2^32.
    """
    return b"".join(client.to_bytes(ID_BYTES, "big") + entries[client] for client in sorted(entries))


def unpack(data: bytes, size: int) -> dict[int, bytes]:
    """Entries of ``size`` bytes by client id.

    Raises
    ------
    SecAggError
        If the length does not fit, or ids are not in ascending order, each once.
    """
    step = ID_BYTES + size
    if len(data) % step:
        raise SecAggError(f"a protocol message of {len(data)} bytes does not hold entries of {step}; it is refused")
    entries: dict[int, bytes] = {}
    last = -1
    for start in range(0, len(data), step):
        client = int.from_bytes(data[start : start + ID_BYTES], "big")
        if client <= last:
            raise SecAggError("a protocol message names a client twice, or out of order; it is refused")
        entries[client] = data[start + ID_BYTES : start + step]
        last = client
    return entries


def pack_varied(entries: Mapping[int, bytes]) -> bytes:
    """Entries of any length below 2^16 by client id, ascending, each with its length before it."""
    return b"".join(
        client.to_bytes(ID_BYTES, "big") + len(entries[client]).to_bytes(_LENGTH_BYTES, "big") + entries[client]
        for client in sorted(entries)
    )


def unpack_varied(data: bytes) -> dict[int, bytes]:
    """What :func:`pack_varied` packed.

    Raises
    ------
    SecAggError
        If it is cut short, or ids are not in ascending order, each once.
    """
    entries: dict[int, bytes] = {}
    last, start = -1, 0
    while start < len(data):
        client = int.from_bytes(data[start : start + ID_BYTES], "big")
        start += ID_BYTES
        length = int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
        start += _LENGTH_BYTES
        if client <= last or start + length > len(data):
            raise SecAggError("a protocol message is cut short, names a client twice, or out of order; it is refused")
        entries[client] = data[start : start + length]
        last, start = client, start + length
    return entries
