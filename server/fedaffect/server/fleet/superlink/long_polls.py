"""What callers of the SuperLink wait for: messages to devices, their replies, and runs to be started.

Flower stores a message first and its chunks one by one afterwards. A caller that pulls it in between finds chunks
missing, so a message counts as there when its last chunk is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from fedaffect.client.protocol.long_poll import Answered, LongPoll
from fedaffect.client.protocol.notifier import Notifier
from fedaffect.server.flower_compat.node_identity import NODE_KEY_HEADER
from fedaffect.server.flower_compat.superlink_messages import (
    TASK_HEADER,
    addressees,
    announced_chunks,
    asking_node,
    messages_can_be_watched,
    stored_chunk,
)

# Flower gives up on a push that takes longer.
_LONGEST_PUSH_S: Final = 180.0
# Flower's clients wait 30 s for an answer. The ServerApp has deadlines to keep, which it looks at between requests.
_DEVICE_S, _SERVERAPP_S = 20.0, 1.0
# A node that nothing came for reaches the SuperLink once a minute. The gate has checked its key each time, and what a
# node may wait for passes the gate.
_DEVICE_WAITS: Final = 3


@dataclass(frozen=True, slots=True)
class _Push:
    """Messages under way: since when, the chunks that have not come, and the nodes they are for."""

    began_s: float
    missing: set[str]
    whom: Collection[int] | None


class ChunkTracker:
    """Notifies when the last chunk of a message has come.

    Parameters
    ----------
    notifier : Notifier
    clock : callable, optional
        Seconds that only grow.
    """

    def __init__(self, notifier: Notifier, clock: Callable[[], float] = time.monotonic) -> None:
        self._notifier = notifier
        self._clock = clock
        self._lock = threading.Lock()
        self._pushes: dict[str, _Push] = {}

    def announced(self, session: str, chunks: Collection[str], whom: Collection[int] | None = None) -> None:
        """Messages were stored, for these nodes or for anybody, and these chunks of them will follow."""
        now = self._clock()
        with self._lock:
            self._pushes = {s: push for s, push in self._pushes.items() if now - push.began_s < _LONGEST_PUSH_S}
            if chunks:
                self._pushes[session] = _Push(now, set(chunks), whom)
                return
        self._notifier.notify(whom)

    def stored(self, session: str, chunk: str) -> None:
        """A chunk is there."""
        with self._lock:
            push = self._pushes.get(session)
            if push is None:
                return
            push.missing.discard(chunk)
            if push.missing:
                return
            del self._pushes[session]
        self._notifier.notify(push.whom)


class SuperLinkPolls:
    """The requests to the SuperLink that wait, and those that end a wait."""

    def __init__(self) -> None:
        self._messages, self._replies, self._runs = Notifier(), Notifier(), Notifier()

    @property
    def polls(self) -> Mapping[str, LongPoll]:
        """Requests that wait, by path."""
        return {
            "/v1/fleet/pull-messages": LongPoll(self._messages, _DEVICE_S, NODE_KEY_HEADER, _DEVICE_WAITS, asking_node),
            "/v1/runtime/pull-messages": LongPoll(self._replies, _SERVERAPP_S, TASK_HEADER),
            "/v1/runtime/acquire-task": LongPoll(self._runs, _DEVICE_S),
        }

    @property
    def answered(self) -> Mapping[str, Answered]:
        """Requests after whose answer some of them are to be answered, by path."""
        messages, replies = ChunkTracker(self._messages), ChunkTracker(self._replies)
        return {
            "/v1/runtime/push-messages": partial(_announced, "runtime", messages, addressees),
            "/v1/runtime/push-object": partial(_stored, messages),
            # Each ServerApp waits for all of its run's replies.
            "/v1/fleet/push-messages": partial(_announced, "fleet", replies, lambda _: None),
            "/v1/fleet/push-object": partial(_stored, replies),
            "/v1/control/start-run": lambda *_: self._runs.notify(),
            # A device that was revoked is to hear of it when it is, and not at the end of its long poll.
            "/v1/control/unregister-node": lambda *_: self._messages.notify(),
        }

    def fit(self) -> bool:
        """Whether this Flower has all of it; if not, a warning says so."""
        return messages_can_be_watched((*self.polls, *self.answered))

    def close(self) -> None:
        """Answer all that wait now, for the gate ends."""
        for notifier in (self._messages, self._replies, self._runs):
            notifier.close()


def _announced(
    api: str, tracker: ChunkTracker, whom: Callable[[bytes], Collection[int] | None], request: bytes, reply: bytes
) -> None:
    # What cannot be read is taken for a message that is there, and for all: a look too early costs less than one too
    # late.
    session, chunks = announced_chunks(api, reply) or ("", ())
    tracker.announced(session, chunks, whom(request))


def _stored(tracker: ChunkTracker, request: bytes, _reply: bytes) -> None:
    if (chunk := stored_chunk(request)) is not None:
        tracker.stored(*chunk)
