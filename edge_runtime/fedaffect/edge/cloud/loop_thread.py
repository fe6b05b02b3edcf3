"""An event loop on a thread of its own, so that a deadline cuts through whatever an exchange is doing.

A socket's timeout bounds one read, not a server that sends a byte a second; cancelling a task bounds all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from concurrent.futures import CancelledError, Future
from threading import Lock, Thread
from typing import Any, Final, TypeVar

from fedaffect.edge.cloud.errors import CloudUnreachable

Result = TypeVar("Result")

_GOODBYE_S: Final = 0.05


class LoopThread:
    """Runs coroutines for callers on any thread; starts with the first.

    Parameters
    ----------
    name : str
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._closed = False
        # Only these are cancelled at the end: each ends the tasks that it started, which know how better than we do.
        self._jobs = set[asyncio.Task[Any] | None]()

    def run(self, work: Awaitable[Result], seconds: float) -> Result:
        """What the work gives.

        Raises
        ------
        TimeoutError
            If it takes longer; it is cancelled then.
        CloudUnreachable
            If the loop is closed, or gets closed meanwhile.
        """

        async def bounded() -> Result:
            job = asyncio.current_task()
            self._jobs.add(job)
            try:
                async with asyncio.timeout(seconds):
                    return await work
            finally:
                self._jobs.discard(job)

        job = bounded()
        try:
            future = self._submit(job)
        except CloudUnreachable:
            job.close()
            if asyncio.iscoroutine(work):
                work.close()
            raise
        try:
            return future.result()
        except CancelledError as error:
            raise CloudUnreachable("the connection to the cloud was closed; open a new one") from error
        except BaseException:
            # An interrupt of the waiting thread must not leave the exchange running.
            future.cancel()
            raise

    def close(self, last: Awaitable[None]) -> None:
        """Cancel what runs, do one last thing, end the thread. A second call does nothing."""
        with self._lock:
            closed, self._closed = self._closed, True
            loop, thread = self._loop, self._thread
        if closed or loop is None or thread is None:
            if asyncio.iscoroutine(last):
                last.close()
            return

        async def end() -> None:
            jobs = [job for job in self._jobs if job is not None]
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            await last
            # A connection ends its own way in later turns of the loop, TLS after a last exchange.
            await asyncio.sleep(_GOODBYE_S)

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _submit(self, job: Coroutine[Any, Any, Result]) -> Future[Result]:
        # Under the lock, so that whatever was submitted comes before the end and is cancelled by it.
        with self._lock:
            if self._closed:
                raise CloudUnreachable("the connection to the cloud is closed; open a new one")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(job, self._loop)
