"""Replies of the last minutes, so that a repeated request is not computed twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cachetools import TTLCache

from fedaffect.server.errors import InvalidRequest
from fedaffect.server.serving.engines.engine import Answer
from fedaffect.server.serving.gateway.limits import now_s


@dataclass(frozen=True, slots=True)
class _Kept:
    digest: bytes
    answer: asyncio.Task[Answer]


class ReplyMemory:
    """Answers by caller and request id; a repetition that comes while the first is computed waits for it.

    Failures are forgotten at once, so that a retry tries again.

    Parameters
    ----------
    entries : int
        At most this many; the one asked for longest ago goes first.
    seconds : float
        After which an answer is forgotten.
    clock : callable
        Seconds, never going back.
    """

    def __init__(self, entries: int, seconds: float, clock: Callable[[], float] = now_s) -> None:
        self._kept: TTLCache[tuple[str, str], _Kept] = TTLCache(entries, seconds, timer=clock)

    async def answer(
        self, caller: str, request_id: str, digest: bytes, compute: Callable[[], Awaitable[Answer]]
    ) -> tuple[Answer, bool]:
        """The answer, and whether it came from memory.

        Parameters
        ----------
        caller, request_id : str
            Whose id it is; two callers may use the same.
        digest : bytes
            Of what was asked.
        compute : callable
            Asks the engine. It goes on where its caller hangs up, for the retry that follows.

        Raises
        ------
        InvalidRequest
            If the id was used for something else.
        """
        key = (caller, request_id)
        kept = self._kept.get(key)
        if kept is not None:
            if kept.digest != digest:
                raise InvalidRequest(
                    f"request id {request_id} was used for another sample a short while ago; give each sample its own"
                )
            return await asyncio.shield(kept.answer), True
        task = asyncio.ensure_future(_run(compute))
        self._kept[key] = _Kept(digest, task)
        task.add_done_callback(lambda done: self._forget_failed(key, done))
        return await asyncio.shield(task), False

    def _forget_failed(self, key: tuple[str, str], done: asyncio.Task[Answer]) -> None:
        # Reading the exception also keeps asyncio from printing it where nobody waits any more.
        failed = done.cancelled() or done.exception() is not None
        kept = self._kept.get(key)
        if failed and kept is not None and kept.answer is done:
            del self._kept[key]


async def _run(compute: Callable[[], Awaitable[Answer]]) -> Answer:
    return await compute()
