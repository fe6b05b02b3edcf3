"""The SuperLink's state with fewer writes: what Flower writes at every request is written once a second.

Flower looks for tasks without heartbeats before nearly everything it does, which takes SQLite's writer's lock, and adds
up the bytes of a run in a transaction for each object that passes. Both can wait for a second: heartbeats come every
few seconds, and the sum of the bytes is for Flower's own reports. What a run sends in its last second, or before the
SuperLink is killed, is missing from these.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

from fedaffect.client.flower_compat.fitting import fits, has_function

_EVERY_S: Final = 1.0
_CLEAN: Final = "_cleanup_expired_task_tokens"
_TRAFFIC: Final = "store_traffic"


def write_less(state: Any, clock: Callable[[], float] = time.monotonic) -> bool:
    """Have a link state clean up expired tasks and write a run's traffic once a second.

    Parameters
    ----------
    state : LinkState
    clock : callable, optional
        Seconds that only grow.

    Returns
    -------
    bool
        Whether the patch fits.
    """
    met = has_function(state, _CLEAN) and has_function(state, _TRAFFIC, ("run_id", "bytes_sent", "bytes_recv"))
    if not fits(met, "the SuperLink writes at each request what could wait"):
        return False
    setattr(state, _CLEAN, _Seldom(getattr(state, _CLEAN), clock))
    setattr(state, _TRAFFIC, _Traffic(getattr(state, _TRAFFIC), clock))
    return True


class _Seldom:
    """Calls a function where its last call is a while ago."""

    def __init__(self, act: Callable[[], None], clock: Callable[[], float]) -> None:
        self._act, self._clock = act, clock
        self._lock = threading.Lock()
        self._acted = -_EVERY_S

    def __call__(self) -> None:
        with self._lock:
            now = self._clock()
            if now - self._acted < _EVERY_S:
                return
            self._acted = now
        self._act()


class _Traffic:
    """Adds up a run's bytes, and hands them on once in a while."""

    def __init__(self, store: Callable[..., None], clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[float, int, int]] = {}

    def __call__(self, run_id: int, *, bytes_sent: int, bytes_recv: int) -> None:
        with self._lock:
            now = self._clock()
            written, sent, received = self._kept.get(run_id, (-_EVERY_S, 0, 0))
            sent, received = sent + bytes_sent, received + bytes_recv
            due = now - written >= _EVERY_S
            self._kept[run_id] = (now, 0, 0) if due else (written, sent, received)
        if due:
            self._store(run_id, bytes_sent=sent, bytes_recv=received)
