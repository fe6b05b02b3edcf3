"""Lines of the audit log from servers that must not wait for a database, nor let strangers fill it with complaints."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from fedaffect.edge.errors import FedAffectError
from fedaffect.server.registry import Registry, audit

logger = logging.getLogger(__name__)

# In this time the same complaint of the same caller is one line (a device that is refused asks again every second), a
# caller has so many lines, and all callers together. What is beyond is one line at its end, with how many they were.
_FOLDED_S: Final = 60.0
_OF_ONE: Final = 10
_OF_ALL: Final = 200
EVERYBODY: Final = "many callers"
_WAITING: Final = 1000
_RETRY_S: Final = 2.0
_LOOK_S: Final = 1.0


class Auditor:
    """Writes audit lines from a thread of its own; while the database is away they wait.

    Parameters
    ----------
    registry_url : str
    actor : str
    clock : callable, optional
        Seconds, monotonic.
    """

    def __init__(
        self, registry_url: str, actor: str = "superlink", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = registry_url
        self._actor = actor
        self._clock = clock
        self._lines: queue.Queue[tuple[str, str, Mapping[str, Any]]] = queue.Queue(_WAITING)
        self._lock = threading.Lock()
        self._began = clock()
        # Of the time at hand: complaints that have a line, by caller, and those that have none.
        self._said: dict[tuple[str, str], set[str]] = {}
        self._more: dict[tuple[str, str], tuple[int, Mapping[str, Any]]] = {}
        threading.Thread(target=self._write, name="audit", daemon=True).start()

    def note(self, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Have a line written, or counted towards one that says how many more there were."""
        with self._lock:
            self._fold()
            key = json.dumps(details, sort_keys=True)
            lines = sum(map(len, self._said.values()))
            own = self._said.get((action, subject), set())
            if key not in own and len(own) < _OF_ONE and lines < _OF_ALL:
                self._said.setdefault((action, subject), set()).add(key)
                self._put(action, subject, details)
                return
            # A caller without a line of its own is one of many.
            who = (action, subject if own else EVERYBODY)
            self._more[who] = (self._more.get(who, (0, {}))[0] + 1, details)

    def _fold(self) -> None:
        """At the end of the time, one line of what had none."""
        if self._clock() - self._began < _FOLDED_S:
            return
        for (action, subject), (count, last) in self._more.items():
            self._put(action, subject, {**last, "count": count, "within_s": round(self._clock() - self._began)})
        self._began = self._clock()
        self._said.clear()
        self._more.clear()

    def _put(self, action: str, subject: str, details: Mapping[str, Any]) -> None:
        try:
            self._lines.put_nowait((action, subject, details))
        except queue.Full:
            logger.warning("too many audit lines wait for the database; lost: %s %s %s", action, subject, details)

    def _write(self) -> None:
        registry: Registry | None = None
        while True:
            try:
                action, subject, details = self._lines.get(timeout=_LOOK_S)
            except queue.Empty:
                with self._lock:
                    self._fold()
                continue
            while True:
                try:
                    registry = registry or Registry.open(self._url)
                    audit.write(registry, action, subject=subject, actor=self._actor, **details)
                    break
                except FedAffectError as error:
                    logger.warning("the audit log waits: %s", error)
                    time.sleep(_RETRY_S)
