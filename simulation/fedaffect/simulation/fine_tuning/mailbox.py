"""Where the run and its workers leave word for each other: orders one way, answers the other."""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

# What to call on a trainer, and with what; None ends the work.
Order: TypeAlias = tuple[str, tuple[Any, ...]] | None


class Mailbox:
    """An actor of Ray's, on the machine of the run.

    Parameters
    ----------
    workers : int
        Each of them answers each order.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._number, self._order = -1, None  # type: tuple[int, Order]
        self._answers: dict[int, Any] = {}
        self._changed = asyncio.Condition()

    async def give(self, order: Order) -> int:
        """Leave the next order; returns its number."""
        async with self._changed:
            self._number, self._order, self._answers = self._number + 1, order, {}
            self._changed.notify_all()
            return self._number

    async def order(self, number: int) -> Order:
        """The order of that number, once it is there."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._number >= number)
            return self._order

    async def answer(self, rank: int, value: Any) -> None:
        """Leave a worker's answer to the newest order."""
        async with self._changed:
            self._answers[rank] = value
            self._changed.notify_all()

    async def answers(self) -> list[Any]:
        """All workers' answers to the newest order, by rank, once they are there."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._answers) == self._workers)
            return [self._answers[rank] for rank in range(self._workers)]
