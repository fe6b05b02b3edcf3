from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.offload import BreakerConfig, Circuit, CircuitBreaker

PLAIN = BreakerConfig(failures=3, back_off_s=1, back_off_max_s=8, jitter=0, probe_timeout_s=30)


def _fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        assert breaker.enter()
        breaker.failed()


def test_opens_after_failures_in_a_row(clock) -> None:
    breaker = CircuitBreaker(PLAIN, clock=clock)
    _fail(breaker, 2)
    breaker.succeeded()
    _fail(breaker, 2)
    assert breaker.circuit is Circuit.CLOSED
    _fail(breaker, 1)
    assert breaker.circuit is Circuit.OPEN
    assert not breaker.enter()
    assert breaker.retry_after_s == 1


def test_half_open_lets_one_probe_through_and_its_success_closes(clock) -> None:
    breaker = CircuitBreaker(PLAIN, clock=clock)
    _fail(breaker, 3)
    clock.wait(1)
    assert breaker.circuit is Circuit.HALF_OPEN
    assert [breaker.enter() for _ in range(5)] == [True, False, False, False, False]
    breaker.succeeded()
    assert breaker.circuit is Circuit.CLOSED
    assert all(breaker.enter() for _ in range(5))


def test_each_failed_probe_doubles_the_back_off_up_to_its_longest(clock) -> None:
    breaker = CircuitBreaker(PLAIN, clock=clock)
    _fail(breaker, 3)
    waits = []
    for _ in range(6):
        waits.append(breaker.retry_after_s)
        clock.wait(breaker.retry_after_s)
        _fail(breaker, 1)
    assert waits == [1, 2, 4, 8, 8, 8]
    clock.wait(8)
    assert breaker.enter()
    breaker.succeeded()
    _fail(breaker, 3)
    assert breaker.retry_after_s == 1, "a success starts it again"


def test_a_probe_that_nobody_reports_is_given_up(clock) -> None:
    breaker = CircuitBreaker(PLAIN, clock=clock)
    _fail(breaker, 3)
    clock.wait(1)
    assert breaker.enter()
    clock.wait(29)
    assert not breaker.enter()
    clock.wait(1)
    assert breaker.enter()


def test_an_abandoned_probe_makes_room_for_the_next(clock) -> None:
    breaker = CircuitBreaker(PLAIN, clock=clock)
    _fail(breaker, 3)
    clock.wait(1)
    assert breaker.enter()
    breaker.abandoned()
    assert breaker.circuit is Circuit.HALF_OPEN
    assert breaker.enter()


def test_calls_under_way_when_it_opened_change_nothing(clock) -> None:
    breaker = CircuitBreaker(PLAIN, clock=clock)
    _fail(breaker, 3)
    for _ in range(10):
        breaker.failed()
    breaker.succeeded()
    assert breaker.circuit is Circuit.OPEN
    assert breaker.retry_after_s == 1


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1), st.integers(1, 80))
def test_jitter_only_shortens_and_stays_within_its_share(seed: int, jitter: float, rounds: int) -> None:
    now = [0.0]
    config = BreakerConfig(failures=1, back_off_s=1, back_off_max_s=100, jitter=jitter)
    breaker = CircuitBreaker(config, clock=lambda: now[0], seed=seed)
    for opening in range(rounds):
        now[0] += breaker.retry_after_s + 1e-6
        assert breaker.enter()
        breaker.failed()
        longest = min(2.0**opening, 100)
        assert (1 - jitter) * longest - 1e-6 <= breaker.retry_after_s <= longest + 1e-6


def test_devices_do_not_come_back_together(clock) -> None:
    waits = set()
    for seed in range(20):
        breaker = CircuitBreaker(BreakerConfig(failures=1), clock=clock, seed=seed)
        breaker.failed()
        waits.add(round(breaker.retry_after_s, 6))
    assert len(waits) == 20


@pytest.mark.parametrize(
    "settings", [{"failures": 0}, {"back_off_s": 0}, {"back_off_s": 9, "back_off_max_s": 8}, {"jitter": 1.5}]
)
def test_settings_out_of_range_are_refused(settings) -> None:
    with pytest.raises(ConfigError):
        BreakerConfig(**settings)


class BreakerMachine(RuleBasedStateMachine):
    """Any order of calls, outcomes and pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.breaker = CircuitBreaker(PLAIN, clock=lambda: self.now, seed=0)
        self.probes = 0

    @rule(seconds=st.floats(0.1, 10))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        before = self.breaker.circuit
        entered = self.breaker.enter()
        if before is Circuit.OPEN:
            assert not entered
        elif before is Circuit.CLOSED:
            assert entered
        else:
            self.probes += entered
            if entered:
                assert not self.breaker.enter(), "one probe at a time"

    @rule()
    def succeed(self) -> None:
        self.breaker.succeeded()

    @rule()
    def fail(self) -> None:
        self.breaker.failed()

    @invariant()
    def an_open_circuit_ends(self) -> None:
        assert 0 <= self.breaker.retry_after_s <= max(PLAIN.back_off_max_s, PLAIN.probe_timeout_s) + 1e-9
        assert self.breaker.passes or self.breaker.retry_after_s > 0


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
