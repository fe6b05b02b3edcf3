"""A clock that a test moves."""

from __future__ import annotations

import pytest


class HandClock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def new_clock() -> type[HandClock]:
    """For tests that hypothesis runs many times: a fresh one each."""
    return HandClock
