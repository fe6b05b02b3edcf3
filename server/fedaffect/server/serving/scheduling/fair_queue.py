"""Who is next: earliest deadline within a client, and between clients the one that has had least for its weight."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
_REMEMBERED: Final = 1024
_SLACK: Final = 16


@dataclass(eq=False, slots=True)
class Waiting(Generic[Item]):
    """One request in the queue.

    Parameters
    ----------
    item : object
        The request itself.
    client : str
        Whose it is.
    deadline_s : float
        On the queue's clock.
    cost_s : float
        Seconds of compute that it is thought to take.
    cost : mapping of str to int
        Its length by modality.
    since_s : float
        When it came.
    """

    item: Item
    client: str
    deadline_s: float
    cost_s: float
    cost: Mapping[str, int] = field(default_factory=dict)
    since_s: float = 0.0
    gone: bool = False


class _Line(Generic[Item]):
    """What one client has waiting."""

    def __init__(self, start: float) -> None:
        self.heap: list[tuple[float, int, Waiting[Item]]] = []
        self.count = 0
        self.backlog_s = 0.0
        # Compute that the client has had, by its weight, since it became active.
        self.served = start


class FairQueue(Generic[Item]):
    """Start-time fair queueing over clients, earliest deadline first within each; plain data, no clock of its own.

    A client that sends a hundred requests does not delay one that sends one by more than a request of each other
    client. One that was away starts level with those who stayed: time away earns nothing.

    Parameters
    ----------
    weights : mapping of str to float, optional
        Share of a client relative to others; 1 where not given.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = dict(weights or {})
        self._lines: dict[str, _Line[Item]] = {}
        # Where those start who come: what the last one chosen had been served before.
        self._level = 0.0
        # What clients had been served when their lines ran empty, as long as that is ahead of the level.
        self._ahead: dict[str, float] = {}
        self._pushed = 0
        self._count = 0
        self._backlog_s = 0.0

    def __len__(self) -> int:
        return self._count

    @property
    def backlog_s(self) -> float:
        """Seconds of compute that wait."""
        return max(0.0, self._backlog_s)

    def client_backlog_s(self, client: str) -> float:
        """Seconds of compute that wait for one client."""
        line = self._lines.get(client)
        return line.backlog_s if line else 0.0

    def push(self, waiting: Waiting[Item]) -> None:
        """Add a request."""
        line = self._lines.get(waiting.client)
        if line is None:
            start = max(self._level, self._ahead.pop(waiting.client, self._level))
            line = self._lines[waiting.client] = _Line(start)
        self._pushed += 1
        heapq.heappush(line.heap, (waiting.deadline_s, self._pushed, waiting))
        line.count += 1
        line.backlog_s += waiting.cost_s
        self._count += 1
        self._backlog_s += waiting.cost_s

    def discard(self, waiting: Waiting[Item]) -> bool:
        """Take a request out, wherever it stands; False where it has left already."""
        if waiting.gone:
            return False
        self._leave(waiting)
        return True

    def peek(self) -> Waiting[Item] | None:
        """Who would be next; None where nobody waits."""
        line = self._next_line()
        return None if line is None else line.heap[0][2]

    def pop(self) -> Waiting[Item] | None:
        """Take out the next request; None where nobody waits."""
        line = self._next_line()
        if line is None:
            return None
        self._level = line.served
        waiting = line.heap[0][2]
        line.served += waiting.cost_s / self._weights.get(waiting.client, 1.0)
        self._leave(waiting)
        return waiting

    def _next_line(self) -> _Line[Item] | None:
        chosen: _Line[Item] | None = None
        for line in self._lines.values():
            while line.heap[0][2].gone:
                heapq.heappop(line.heap)
            if chosen is None or (line.served, line.heap[0][:2]) < (chosen.served, chosen.heap[0][:2]):
                chosen = line
        return chosen

    def heaviest(self) -> Waiting[Item] | None:
        """The last in line of the client that has most waiting, who gives way when the queue is full."""
        if not self._lines:
            return None
        line = max(self._lines.values(), key=lambda line: line.backlog_s)
        return max((entry for entry in line.heap if not entry[2].gone), key=lambda entry: entry[:2])[2]

    def _leave(self, waiting: Waiting[Item]) -> None:
        waiting.gone = True
        line = self._lines[waiting.client]
        line.count -= 1
        line.backlog_s -= waiting.cost_s
        self._count -= 1
        self._backlog_s -= waiting.cost_s
        if line.count == 0:
            del self._lines[waiting.client]
            self._ahead[waiting.client] = line.served
            if len(self._ahead) > _REMEMBERED:
                self._ahead = {name: served for name, served in self._ahead.items() if served > self._level}
        elif len(line.heap) > 2 * line.count + _SLACK:
            # Those who left from the middle still lie in the heap, with all they carry.
            line.heap = [entry for entry in line.heap if not entry[2].gone]
            heapq.heapify(line.heap)
        if self._count == 0:
            self._backlog_s = 0.0
            self._ahead.clear()
