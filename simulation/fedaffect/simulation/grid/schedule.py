"""Which clients go together in one call, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

# A share of what is left, so that actors of unequal speed still finish together.
_SHARE = 3
# Below this fraction of one actor's work a call of its own costs more than it balances.
_FINEST = 16


def chunks_by_cost(
    items: Sequence[Item], costs: Sequence[float], workers: int, most: int | None = None, least: int = 1
) -> list[list[Item]]:
    """Divide clients into chunks to be taken from the front by whichever worker is free.

    Clients come in order of decreasing cost and chunks shrink towards the end: longest processing time first
    (Graham 1969, at most 4/3 of the best possible round) with the chunk sizes of guided self-scheduling
    (Polychronopoulos and Kuck 1987). Equal costs keep their order.

    Parameters
    ----------
    items : sequence
        Clients, or whatever stands for them.
    costs : sequence of float
        Expected cost of each, in any unit; training examples will do.
    workers : int
        How many take chunks.
    most : int, optional
        At most this many items a chunk, where each reply is large.
    least : int
        At least this many while every worker gets as many, where items of one call are worked on at once.

    Returns
    -------
    list of list
        Every item exactly once.
    """
    order = sorted(range(len(items)), key=lambda i: -costs[i])
    left = float(sum(costs))
    finest = left / (workers * _FINEST)
    least = min(least, -(-len(items) // workers))
    chunks: list[list[Item]] = []
    start = 0
    while start < len(order):
        target = max(left / (workers * _SHARE), finest)
        cost = 0.0
        stop = start
        while stop < len(order) and (most is None or stop - start < most):
            next_cost = costs[order[stop]]
            # The first always fits; another only if that comes nearer to the target than stopping here.
            if stop - start >= least and cost + next_cost / 2 > target:
                break
            cost += next_cost
            stop += 1
        chunks.append([items[i] for i in order[start:stop]])
        left -= cost
        start = stop
    return chunks
