"""Lines of the audit log from servers that must not wait for a database, nor fill it with one complaint."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from edge_runtime.errors import FedAffectError
from server.registry import Registry, audit

logger = logging.getLogger(__name__)

# The same complaint of the same caller is one line in this time; a device that is refused asks again every second.
_ONCE_IN_S: Final = 60.0
_WAITING: Final = 1000
_RETRY_S: Final = 2.0
_KNOWN: Final = 10_000


class Auditor:
    """Writes audit lines from a thread of its own; while the database is away they wait.

    Parameters
    ----------
    registry_url : str
    actor : str
    """

    def __init__(self, registry_url: str, actor: str = "superlink") -> None:
        self._url = registry_url
        self._actor = actor
        self._lines: queue.Queue[tuple[str, str, Mapping[str, Any]]] = queue.Queue(_WAITING)
        self._said: dict[str, float] = {}
        threading.Thread(target=self._write, name="audit", daemon=True).start()

    def note(self, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Have a line written, unless the same one just was."""
        now = time.monotonic()
        key = json.dumps([action, subject, details], sort_keys=True)
        if now - self._said.get(key, -_ONCE_IN_S) < _ONCE_IN_S:
            return
        if len(self._said) > _KNOWN:
            self._said.clear()
        self._said[key] = now
        try:
            self._lines.put_nowait((action, subject, details))
        except queue.Full:
            logger.warning("too many audit lines wait for the database; lost: %s %s %s", action, subject, details)

    def _write(self) -> None:
        registry: Registry | None = None
        while True:
            action, subject, details = self._lines.get()
            while True:
                try:
                    registry = registry or Registry.open(self._url)
                    audit.write(registry, action, subject=subject, actor=self._actor, **details)
                    break
                except FedAffectError as error:
                    logger.warning("the audit log waits: %s", error)
                    time.sleep(_RETRY_S)
