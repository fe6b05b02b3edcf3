from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.offload import Budget


@settings(deadline=None)
@given(
    calls=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 400)), min_size=1, max_size=80),
    max_calls=st.integers(0, 6),
    max_bytes=st.integers(0, 1000),
)
def test_no_minute_holds_more_than_the_limits(calls, max_calls: int, max_bytes: int, new_clock) -> None:
    clock = new_clock()
    budget = Budget(max_calls, max_bytes, clock=clock)
    sent: list[tuple[float, int]] = []
    for pause, size in calls:
        clock.wait(pause)
        fits = budget.shortage(size) is None
        assert budget.take(size) == fits
        if fits:
            sent.append((clock.now, size))
    for start, _ in sent:
        minute = [size for when, size in sent if start <= when < start + 60]
        assert len(minute) <= max_calls
        assert sum(minute) <= max_bytes


def test_what_was_spent_comes_back_after_a_minute(clock) -> None:
    budget = Budget(2, clock=clock)
    assert budget.take(10)
    clock.wait(30)
    assert budget.take(10)
    assert not budget.take(10)
    assert budget.spent() == (2, 20)
    clock.wait(30)
    assert budget.take(10)
    assert not budget.take(10)


def test_without_limits_the_log_stays_short(clock) -> None:
    budget = Budget(None, None, clock=clock)
    for _ in range(5000):
        assert budget.take(1)
        clock.wait(0.01)
    assert budget.spent() == (5000, 5000)
    assert len(budget._log) <= 121
    clock.wait(61)
    assert budget.spent() == (0, 0)


def test_says_what_is_missing(clock) -> None:
    assert Budget(0, clock=clock).shortage(1) == "0 of 0 calls a minute are spent"
    assert "2,000 bytes do not fit" in (Budget(None, 1000, clock=clock).shortage(2000) or "")


def test_limits_below_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="-1 calls"):
        Budget(-1)
    with pytest.raises(ConfigError, match="0 bytes or more"):
        Budget().take(-5)
