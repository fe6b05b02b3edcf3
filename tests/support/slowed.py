"""Processes that get only a part of their time, as on a machine that is several times slower."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

_PERIOD_S = 0.4


@contextmanager
def slowed(processes: Callable[[], Iterable[int]], times: float) -> Iterator[None]:
    """Stop processes and let them go on in turns, so that they need ``times`` as long; at the end they go on.

    Parameters
    ----------
    processes : callable
        Their numbers, asked each time as they may be started again.
    times : float
    """
    over = Event()

    def turns() -> None:
        while not over.is_set():
            stopped = list(processes())
            _send(stopped, signal.SIGSTOP)
            over.wait(_PERIOD_S * (1 - 1 / times))
            _send(stopped, signal.SIGCONT)
            over.wait(_PERIOD_S / times)

    thread = Thread(target=turns)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _send(processes: Iterable[int], number: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
