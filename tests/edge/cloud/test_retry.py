from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from fedaffect.edge.cloud import CloudBusy, CloudError, CloudGarbage, CloudRefused, CloudTimeout, CloudUnreachable
from fedaffect.edge.cloud.retry import Backoff, Deadline, retried, seconds_of
from fedaffect.edge.errors import ConfigError


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def failing(times: int, error: CloudError) -> Callable[[], str]:
    left = [times]

    def attempt() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "answer"

    return attempt


def call(attempt: Callable[[], str], clock: Clock, ms: float = 60_000.0, draw: float = 0.999) -> str:
    return retried(attempt, Deadline(ms, clock), Backoff(0.1, 1.0, 6), sleep=clock.sleep, draw=lambda: draw)


def test_waits_double_up_to_their_cap() -> None:
    clock = Clock()
    assert call(failing(5, CloudUnreachable("away")), clock) == "answer"
    assert clock.slept == pytest.approx([0.0999, 0.1998, 0.3996, 0.7992, 0.999])


def test_jitter_is_full() -> None:
    clock = Clock()
    call(failing(3, CloudUnreachable("away")), clock, draw=0.0)
    assert clock.slept == [0.0, 0.0, 0.0]


def test_a_busy_cloud_is_not_asked_before_it_wants_to_be() -> None:
    clock = Clock()
    call(failing(2, CloudBusy("full", 3.0)), clock, draw=0.5)
    assert clock.slept == pytest.approx([3.05, 3.1])


def test_never_past_the_deadline() -> None:
    clock = Clock()
    with pytest.raises(CloudBusy):
        call(failing(1, CloudBusy("full", 3.0)), clock, ms=3000.0)
    assert clock.slept == []
    with pytest.raises(CloudTimeout):
        call(failing(0, CloudUnreachable("")), clock, ms=0.0)


@pytest.mark.parametrize("error", [CloudRefused("no", 422), CloudGarbage("what"), CloudTimeout("late")])
def test_what_will_not_pass_is_not_repeated(error: CloudError) -> None:
    clock = Clock()
    with pytest.raises(type(error)):
        call(failing(1, error), clock)
    assert clock.slept == []


def test_attempts_are_bounded() -> None:
    clock = Clock()
    with pytest.raises(CloudUnreachable):
        call(failing(6, CloudUnreachable("away")), clock)
    assert len(clock.slept) == 5


@pytest.mark.parametrize("ms", [math.inf, math.nan])
def test_deadlines_are_finite(ms: float) -> None:
    with pytest.raises(ConfigError, match="finite"):
        Deadline(ms)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-1", 0.0), ("soon", 0.0), ("inf", 0.0), ("nan", 0.0), (b"2", 2.0)],
)
def test_retry_after(value: str | bytes, seconds: float) -> None:
    assert seconds_of(value) == seconds
