"""When a message is there as a whole: Flower stores it first, and what it consists of piece by piece afterwards.

Who pulls it in between finds pieces missing, and looks for them again and again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any, Final

from fedaffect.client.protocol.long_poll import Arrivals

# Flower gives up on a push that takes longer.
_LONGEST_S: Final = 180.0


class Deliveries:
    """Says that something came when the last piece of a message has.

    Parameters
    ----------
    arrivals : Arrivals
        Told.
    clock : callable, optional
        Seconds that only grow.
    """

    def __init__(self, arrivals: Arrivals, clock: Callable[[], float] = time.monotonic) -> None:
        self._arrivals = arrivals
        self._clock = clock
        self._lock = threading.Lock()
        self._missing: dict[str, tuple[float, set[str]]] = {}

    def announced(self, session: str, pieces: Collection[str]) -> None:
        """Messages were stored, and these pieces of them will follow."""
        now = self._clock()
        with self._lock:
            self._missing = {s: (t, m) for s, (t, m) in self._missing.items() if now - t < _LONGEST_S}
            if pieces:
                self._missing[session] = (now, set(pieces))
                return
        self._arrivals.came()

    def stored(self, session: str, piece: str) -> None:
        """A piece is there."""
        with self._lock:
            _, missing = self._missing.get(session, (0.0, None))
            if missing is None:
                return
            missing.discard(piece)
            if missing:
                return
            del self._missing[session]
        self._arrivals.came()


def watch(handlers: ModuleType, deliveries: Deliveries) -> None:
    """Have Flower's handlers of an API tell of what is pushed through them.

    Parameters
    ----------
    handlers : module
        With functions ``push_messages`` and ``push_object``, which are replaced.
    deliveries : Deliveries
    """
    push_messages, push_object = handlers.push_messages, handlers.push_object

    def messages(request: Any, *arguments: Any, **named: Any) -> Any:
        reply = push_messages(request, *arguments, **named)
        deliveries.announced(reply.session_id, reply.objects_to_push)
        return reply

    def piece(request: Any, *arguments: Any, **named: Any) -> Any:
        reply = push_object(request, *arguments, **named)
        deliveries.stored(request.session_id, request.object_id)
        return reply

    handlers.push_messages, handlers.push_object = messages, piece  # type: ignore[attr-defined]
