"""Audit log of servers that cannot wait for the database; unauthenticated callers cannot fill it."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from fedaffect.edge.errors import FedAffectError
from fedaffect.server.fleet.lasting_thread import LastingThread
from fedaffect.server.registry import Registry, audit

logger = logging.getLogger(__name__)

# Within this window, the same refusal of the same caller is one line (a refused device asks again every second), and
# the lines of a caller and of all callers are limited. The rest is counted in one line when the window ends.
_WINDOW_S: Final = 60.0
_LINES_A_CALLER: Final = 10
_LINES: Final = 200
EVERYBODY: Final = "many callers"
_WAITING: Final = 1000
_RETRY_S: Final = 2.0
_LOOK_S: Final = 1.0


class Auditor:
    """Writes audit lines from a thread of its own; while the database is unavailable they wait.

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
        # Of this window: refusals that have a line, by caller, and those that are counted.
        self._written: dict[tuple[str, str], set[str]] = {}
        self._unwritten: dict[tuple[str, str], tuple[int, Mapping[str, Any]]] = {}
        LastingThread("audit", self._write).start()

    def note(self, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Write a line, or count it towards the one that closes the window."""
        with self._lock:
            self._summarise()
            key = json.dumps(details, sort_keys=True)
            lines = sum(map(len, self._written.values()))
            own = self._written.get((action, subject), set())
            if key not in own and len(own) < _LINES_A_CALLER and lines < _LINES:
                self._written.setdefault((action, subject), set()).add(key)
                self._put(action, subject, details)
                return
            # A caller without a line of its own is one of many.
            who = (action, subject if own else EVERYBODY)
            self._unwritten[who] = (self._unwritten.get(who, (0, {}))[0] + 1, details)

    def _summarise(self) -> None:
        """At the end of the window, write how many refusals had no line."""
        if self._clock() - self._began < _WINDOW_S:
            return
        for (action, subject), (count, last) in self._unwritten.items():
            self._put(action, subject, {**last, "count": count, "within_s": round(self._clock() - self._began)})
        self._began = self._clock()
        self._written.clear()
        self._unwritten.clear()

    def _put(self, action: str, subject: str, details: Mapping[str, Any]) -> None:
        try:
            self._lines.put_nowait((action, subject, details))
        except queue.Full:
            # Without the details: they say what people call their devices.
            logger.warning("too many audit lines wait for the database; one is lost: %s %s", action, subject)

    def _write(self) -> None:
        registry: Registry | None = None
        while True:
            try:
                action, subject, details = self._lines.get(timeout=_LOOK_S)
            except queue.Empty:
                with self._lock:
                    self._summarise()
                continue
            while True:
                try:
                    registry = registry or Registry.open(self._url)
                    audit.write(registry, action, subject=subject, actor=self._actor, **details)
                    break
                except FedAffectError as error:
                    logger.warning("the audit log waits: %s", error)
                    time.sleep(_RETRY_S)
