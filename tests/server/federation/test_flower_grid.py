from __future__ import annotations

import types
from collections.abc import Iterable

import pytest
from flwr.app import Message, MessageType, RecordDict
from tests.support.in_process_grid import InProcessGrid

from fedaffect.server.federation import flower_grid
from fedaffect.server.federation.flower_grid import FlowerGrid


class _Slow(InProcessGrid):
    """Has no reply before a time, and says so at once or after it waited."""

    def __init__(self, clock: list[float], replies_at_s: float, waits_s: float) -> None:
        super().__init__(1)
        self._clock = clock
        self._replies_at_s = replies_at_s
        self._waits_s = waits_s

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self._clock[0] += self._waits_s
        return list(super().pull_messages(message_ids)) if self._clock[0] >= self._replies_at_s else []


@pytest.mark.parametrize(("waits_s", "slept"), [(0.0, 1.0), (2.0, 0.0), (0.5, 0.5)])
def test_a_grid_that_waited_for_replies_itself_is_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch, waits_s: float, slept: float
) -> None:
    clock, sleeps = [0.0], []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(flower_grid, "time", types.SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    grid = _Slow(clock, 100.0, waits_s)
    node = next(iter(grid.get_node_ids()))
    # After ten seconds nobody is asked more often than once a second.
    found = list(FlowerGrid(grid).stream([Message(RecordDict(), node, MessageType.QUERY)], timeout=200.0))
    assert len(found) == 1
    assert sleeps[-1] == pytest.approx(slept)
