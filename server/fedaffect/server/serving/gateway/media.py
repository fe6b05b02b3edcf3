"""Files of requests, looked into away from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from fedaffect.server.errors import Overloaded
from fedaffect.server.serving.decoding.decoders import Decoders
from fedaffect.server.serving.gateway.limits import Limits

_BUSY_RETRY_S: Final = 1.0

Result = TypeVar("Result")


class MediaPool:
    """A few threads, each of which waits for a decoder, and a bounded queue in front of them.

    Parameters
    ----------
    limits : Limits
    decoders : Decoders, optional
        Those that the engine uses too; some of its own where there are none.

    Attributes
    ----------
    decoders : Decoders
    """

    def __init__(self, limits: Limits, decoders: Decoders | None = None) -> None:
        self._limits = limits
        self._own = decoders is None
        self.decoders = decoders or Decoders()
        self._threads = ThreadPoolExecutor(limits.decode_threads, thread_name_prefix="media")
        self._waiting = 0

    async def run(self, work: Callable[[], Result]) -> Result:
        """Do one piece of work on a thread of the pool.

        Raises
        ------
        Overloaded
            If too many wait already.
        """
        if self._waiting >= self._limits.decode_queue + self._limits.decode_threads:
            raise Overloaded("too many clips wait to be opened; try again shortly", _BUSY_RETRY_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Stop the threads and decoders; what waits is given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._own:
            self.decoders.close()
