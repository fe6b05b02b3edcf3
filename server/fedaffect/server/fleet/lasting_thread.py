"""Threads of a server that must not end: what raises is logged, counted and started again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0


class LastingThread:
    """A daemon thread whose work is started again, later each time, when it raises anything at all.

    Parameters
    ----------
    name : str
    work : callable
        Returns when it has nothing left to do for good.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.restarts = 0
        self.last_error = ""

    @property
    def alive(self) -> bool:
        """Whether it is at work, or waits to start again."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def stop(self) -> None:
        """Start its work no more; ending what is under way is the work's own matter."""
        self._over.set()

    def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._over.is_set():
            # Whatever ends a thread ends it without a word.
            try:
                self._work()
            except BaseException as error:
                self.restarts += 1
                self.last_error = f"{type(error).__name__}: {error}"
                logger.exception("thread %s ended and is started again in %.1f s", self._name, wait_s)
                self._over.wait(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                return
