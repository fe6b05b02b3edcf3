"""How much memory a run takes, its helper processes included, and what collects its garbage."""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROC = Path("/proc")
_SAMPLE_EVERY_S = 5.0


class PeakMemory:
    """Peak resident size of this process plus the largest sample of its descendants.

    Descendants (simulated clients' actors) are sampled now and then by their proportional share, which counts
    memory that several processes map once. Where there is no ``/proc``, only this process counts.
    """

    def __init__(self) -> None:
        self._descendants_kb = 0
        self._next_s = 0.0

    def sample(self, *, now: bool = False) -> None:
        """Look at the descendants, if the last look was a while ago."""
        if now or time.monotonic() >= self._next_s:
            self._descendants_kb = max(self._descendants_kb, sum(_share_kb(pid) for pid in _descendants(os.getpid())))
            self._next_s = time.monotonic() + _SAMPLE_EVERY_S

    @property
    def peak_mb(self) -> float:
        """In units of 2^20 bytes."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        own_kb = own / 1024 if sys.platform == "darwin" else own
        return (own_kb + self._descendants_kb) / 1024


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*"):
        try:
            # Fields after the command, which may hold anything but ends with the last parenthesis.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    open_ends = [root]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        found += below
        open_ends += below
    return found


def _share_kb(pid: int) -> int:
    try:
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except (OSError, ValueError):
        return 0
    return 0


@contextmanager
def cheap_collections() -> Iterator[None]:
    """Spare what is there when a run begins, torch's objects above all, from garbage collection until the run ends.

    Some of Flower's strategies collect garbage for every single reply, and walking all of that each time takes longer
    than the aggregation. To freeze and unfreeze round by round is no way: unfreezing puts everything into the oldest
    generation without counting it, so that no collection of that generation ever comes due, and what each round leaves
    in cycles (requests, sessions of the database) stays until the process ends.

    In a program that has frozen what it began with, nothing is unfrozen at the end: its own would be among it.
    """
    frozen_before = gc.get_freeze_count() > 0
    gc.collect()
    gc.freeze()
    # Collections come due by what the last one found: of what is left there is next to nothing.
    gc.collect()
    try:
        yield
    finally:
        if not frozen_before:
            gc.unfreeze()
