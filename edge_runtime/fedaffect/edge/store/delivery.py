"""A thread that empties the queue into the cloud while a runtime is open."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread, current_thread
from typing import Final

from fedaffect.edge.cloud.client import CloudClient
from fedaffect.edge.cloud.retry import Backoff
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store.journal import Journal
from fedaffect.edge.store.sender import Sender

LateAnswer = Callable[[str, Prediction], None]

# What another process let wait is found out about by looking.
_LOOK_S: Final = 300.0
_SOON_S: Final = 0.05
_GOODBYE_S: Final = 5.0


class Delivery:
    """Sends when something was put, when an entry's back-off is over, and when the cloud is heard of again.

    Where the cloud is out of reach, nothing that is put meanwhile is tried on it: the next attempt comes after an
    exponential back-off with full jitter, or when `retry` says that there is a network again.

    Parameters
    ----------
    journal : Journal
    cloud : CloudClient
    privacy : {"raw", "features"}
        What may leave the device.
    on_late_answer : callable, optional
        Of request id and prediction: takes each answer to a deferred prediction, on this thread, at least once. Where
        it raises, the answer is offered again after a back-off. Without one, answers stay in the queue's file.
    """

    def __init__(
        self,
        journal: Journal,
        cloud: CloudClient,
        privacy: str,
        on_late_answer: LateAnswer | None = None,
    ) -> None:
        self._journal = journal
        self._cloud = cloud
        self._privacy = privacy
        self._receive = on_late_answer
        self._backoff = Backoff(base_s=5.0, cap_s=900.0)
        self._stop, self._news, self._again = Event(), Event(), Event()
        self._failures = 0
        self.last_error = ""
        self._thread = Thread(target=self._run, name="fedaffect-delivery", daemon=True)
        self._thread.start()

    @property
    def failing(self) -> bool:
        """Whether the last go ended before its time; `last_error` says why."""
        return self._failures > 0

    def wake(self) -> None:
        """Something was put."""
        self._news.set()

    def retry(self) -> None:
        """Try now, whatever back-offs say."""
        self._again.set()
        self._news.set()

    def stop(self) -> None:
        """Begin nothing more; what is under way may end."""
        self._stop.set()
        self.retry()

    def close(self) -> None:
        """Stop, and wait a moment for what is under way. What is cut short comes again by its lease."""
        self.stop()
        if current_thread() is not self._thread:
            self._thread.join(_GOODBYE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._news.clear()
            wait_s = self._go()
            (self._again if self._failures else self._news).wait(wait_s)

    def _go(self) -> float:
        """Deliver what is due; seconds until it is worth trying again."""
        at_once = self._again.is_set()
        self._again.clear()
        if self._stop.is_set():
            return 0.0
        try:
            queue = self._journal.queue
            if at_once:
                queue.retry_now()
            sent = Sender(queue, self._cloud, self._privacy).drain(self._stop)
            if self._receive is not None:
                queue.hand_over(self._receive)
            due_in_s = queue.due_in_s()
            self.last_error = sent.stopped_by
        # The disk, the app's own function: whatever it is, what waits goes on waiting, and so does this thread.
        except Exception as error:  # noqa: BLE001
            self.last_error = " ".join(str(error).split()) or type(error).__name__
        if self.last_error:
            self._failures += 1
            return self._backoff.wait_s(self._failures)
        self._failures = 0
        return _LOOK_S if due_in_s is None else min(max(due_in_s, _SOON_S), _LOOK_S)
