"""A bundle's bytes from any offset, as both transports send them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from fedaffect.server.errors import ServingError

_CHUNK_BYTES: Final = 256 * 1024


class RangeNotSatisfiable(ServingError):
    """The range begins behind the end."""

    http_status = 416
    grpc_status = "OUT_OF_RANGE"


async def chunks_of(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    """Bytes ``start`` to ``end`` of a file, read away from the event loop."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        await asyncio.to_thread(file.seek, start)
        while start < end:
            chunk = await asyncio.to_thread(file.read, min(_CHUNK_BYTES, end - start))
            if not chunk:
                return
            start += len(chunk)
            yield chunk
    finally:
        file.close()
