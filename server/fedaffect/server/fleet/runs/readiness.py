"""Which devices would train now: asked before a round, so that a round goes to those who will answer it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from fedaffect.client.wire import CONFIG
from fedaffect.server.federation.grid import TrainingGrid
from fedaffect.server.federation.robustness.reply_validation import read_error

# How long an answer is waited for; a device answers between two messages.
_ANSWER_S: Final = 10.0
# One that said no is asked again after growing pauses.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0
_SILENT: Final = "it did not answer"
_REASONS: Final = 3
_LONGEST_REASON: Final = 200


class Readiness(Protocol):
    """Says which of the nodes that are online would train."""

    @property
    def asks(self) -> bool:
        """Whether it asks the nodes themselves."""

    def of(self, nodes: Collection[int], question: ConfigRecord | None) -> list[int]:
        """Those of the nodes that would, in their order."""

    def refused(self, node: int, why: str) -> None:
        """A node refused a round after all."""

    def reasons(self, nodes: Collection[int]) -> str:
        """Why the others would not, the most frequent reasons first; empty where all would."""


class Everybody:
    """Devices that learn a partition of a cohort are taken at their word: consent and being online."""

    asks = False

    def of(self, nodes: Collection[int], question: ConfigRecord | None) -> list[int]:
        """All of them."""
        return list(nodes)

    def refused(self, node: int, why: str) -> None:
        """Nothing."""

    def reasons(self, nodes: Collection[int]) -> str:
        """None."""
        return ""


@dataclass(slots=True)
class _No:
    reason: str
    until_s: float
    pause_s: float


class AskedDevices:
    """Asks each device once whether it would train, and again where it said no.

    The answer holds no number: a device says yes, or the reason that it would refuse a round with.

    Parameters
    ----------
    grid : TrainingGrid
    terms : mapping
        What the run is about: label set, encoders, layout, whether updates are masked.
    clock : callable, optional
        Seconds, monotonic.
    """

    asks = True

    def __init__(
        self, grid: TrainingGrid, terms: Mapping[str, Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grid = grid
        self._terms = terms
        self._clock = clock
        self._ready: set[int] = set()
        self._no: dict[int, _No] = {}

    def of(self, nodes: Collection[int], question: ConfigRecord | None) -> list[int]:
        """Those that said yes, once those whose answer is not known or old were asked."""
        now = self._clock()
        due = [n for n in nodes if n not in self._ready and (n not in self._no or self._no[n].until_s <= now)]
        if due and question is not None:
            self._ask(due, ConfigRecord({**question, **self._terms}))
        return [node for node in nodes if node in self._ready]

    def _ask(self, nodes: Collection[int], question: ConfigRecord) -> None:
        silent = set(nodes)
        messages = [Message(RecordDict({CONFIG: question}), node, MessageType.QUERY) for node in nodes]
        for reply in self._grid.stream(messages, timeout=_ANSWER_S):
            node = reply.metadata.src_node_id
            silent.discard(node)
            if reply.has_error():
                self._note(node, read_error(reply)[1])
            else:
                self._ready.add(node)
                self._no.pop(node, None)
        for node in silent:
            self._note(node, _SILENT)

    def refused(self, node: int, why: str) -> None:
        """It is asked again before the next round."""
        self._ready.discard(node)
        self._note(node, why)

    def _note(self, node: int, why: str) -> None:
        before = self._no.get(node)
        pause_s = _FIRST_PAUSE_S if before is None else min(2 * before.pause_s, _LONGEST_PAUSE_S)
        self._no[node] = _No(why[:_LONGEST_REASON], self._clock() + pause_s, pause_s)

    def reasons(self, nodes: Collection[int]) -> str:
        """``2 x it has too few examples``."""
        said = Counter(self._no[node].reason for node in nodes if node in self._no and node not in self._ready)
        return "; ".join(f"{count} x {reason}" for reason, count in said.most_common(_REASONS))
