"""Failures put down to what they are about: one device or run that fails does not stop the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fedaffect.edge.errors import FedAffectError

logger = logging.getLogger(__name__)

# So often in a row a subject is tried at every pass, then after growing pauses.
_AT_ONCE: Final = 3
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0
# A subject that was not tried for longer has gone.
_SHOWN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    times: int
    at: float
    pause_s: float


class Failures:
    """Counts failures by subject; shared by threads.

    Parameters
    ----------
    clock : callable, optional
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._of: dict[str, _Failure] = {}
        self.count = 0

    def now(self) -> dict[str, str]:
        """Why each subject failed that did so last."""
        with self._lock:
            since = self._clock() - _SHOWN_S
            self._of = {subject: failure for subject, failure in self._of.items() if failure.at >= since}
            return {subject: failure.why for subject, failure in self._of.items()}

    def attempt(self, subject: str, act: Callable[[], object], passing: tuple[type[Exception], ...] = ()) -> bool:
        """Do something for one subject; False where it failed now, or lately so often that it must wait.

        Parameters
        ----------
        subject : str
        act : callable
        passing : tuple of exception types
            What is no subject's own failure, and is raised.
        """
        with self._lock:
            before = self._of.get(subject)
        if before is not None and self._clock() - before.at < before.pause_s:
            return False
        try:
            act()
        except passing:
            raise
        # Whatever it is: nobody else must pay for it.
        except Exception as error:  # noqa: BLE001
            self.note(subject, error)
            return False
        self.clear(subject)
        return True

    def note(self, subject: str, error: Exception) -> None:
        """A subject failed; said once in the log for each reason."""
        why = f"{error}" or type(error).__name__
        with self._lock:
            before = self._of.get(subject)
            times = 1 if before is None else before.times + 1
            pause_s = _FIRST_PAUSE_S * 2.0 ** min(times - _AT_ONCE, 10) if times > _AT_ONCE else 0.0
            self._of[subject] = _Failure(why, times, self._clock(), min(pause_s, _LONGEST_PAUSE_S))
            self.count += 1
        if before is None or before.why != why:
            # Of what is no error of ours the log has no words, which may be anybody's.
            ours = isinstance(error, FedAffectError)
            logger.warning("%s: %s", subject, why if ours else type(error).__name__, exc_info=None if ours else error)

    def clear(self, subject: str) -> None:
        """A subject did not fail."""
        with self._lock:
            self._of.pop(subject, None)
