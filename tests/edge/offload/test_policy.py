from __future__ import annotations

import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.offload import BreakerConfig, Circuit, OffloadConfig, OffloadPolicy, Reason

CONFIG = OffloadConfig(thresholds={"default": 0.6}, breaker=BreakerConfig(jitter=0))


def _decide(policy: OffloadPolicy, confidence: float = 0.3, **about):
    asked = {"modalities": ("audio",), "request_bytes": 1000, "deadline_left_ms": None, "privacy": "raw"} | about
    return policy.decide(confidence, **asked)


def test_unsure_and_allowed_asks(clock) -> None:
    decision = _decide(OffloadPolicy(CONFIG, clock=clock))
    assert decision.offload
    assert decision.reason is Reason.UNSURE
    assert decision.detail.startswith("confidence 0.300 is below the threshold 0.600")


def test_each_reason_to_stay_is_said(clock) -> None:
    policy = OffloadPolicy(CONFIG, clock=clock)
    assert _decide(policy, 0.6).reason is Reason.CONFIDENT
    assert _decide(policy, cloud=False).reason is Reason.NO_CLOUD
    assert _decide(policy, privacy="never").reason is Reason.PRIVACY
    late = _decide(policy, deadline_left_ms=200)
    assert late.reason is Reason.DEADLINE
    assert late.detail.endswith("200 ms are left and asking takes 305 ms")
    none_left = OffloadPolicy(OffloadConfig(calls_per_minute=0), clock=clock)
    assert _decide(none_left).reason is Reason.BUDGET
    for _ in range(3):
        _decide(policy)
        policy.failed()
    opened = _decide(policy)
    assert opened.reason is Reason.CIRCUIT_OPEN
    assert "tried again in 1.0 s" in opened.detail


def test_a_device_without_an_answer_is_never_sure(clock) -> None:
    policy = OffloadPolicy(OffloadConfig(thresholds={"default": 0.0}), clock=clock)
    decision = policy.decide(None, modalities=("video",), privacy="raw", request_bytes=10)
    assert (decision.offload, decision.reason) == (True, Reason.NOTHING_USABLE)
    late = policy.decide(None, modalities=("video",), privacy="raw", request_bytes=10, deadline_left_ms=1)
    assert (late.offload, late.reason) == (False, Reason.DEADLINE)
    assert late.detail.startswith("the device can use nothing of it, but 1 ms are left")


def test_without_being_told_nothing_leaves_the_device(clock) -> None:
    decision = OffloadPolicy(clock=clock).decide(0.1, modalities=("audio",), request_bytes=1000)
    assert decision.reason is Reason.PRIVACY


def test_thresholds_go_by_subset(clock) -> None:
    config = OffloadConfig(thresholds={"text": 0.2, "text+audio": 0.9})
    policy = OffloadPolicy(config, clock=clock)
    assert _decide(policy, 0.3, modalities=("text",)).reason is Reason.CONFIDENT
    assert _decide(policy, 0.8, modalities=("audio", "text")).reason is Reason.UNSURE
    assert _decide(policy, 0.45, modalities=("video",)).reason is Reason.UNSURE
    assert _decide(policy, 0.55, modalities=("video",)).reason is Reason.CONFIDENT


def test_a_threshold_of_the_moment_goes_before_the_settings(clock) -> None:
    policy = OffloadPolicy(CONFIG, clock=clock)
    assert _decide(policy, 0.7, threshold=0.8).reason is Reason.UNSURE
    assert _decide(policy, 0.3, threshold=0.0).reason is Reason.CONFIDENT


def test_a_confidence_that_is_no_number_is_unsure_and_such_a_deadline_is_over(clock) -> None:
    policy = OffloadPolicy(CONFIG, clock=clock)
    assert _decide(policy, math.nan).offload
    assert _decide(policy, deadline_left_ms=math.nan).reason is Reason.DEADLINE
    assert _decide(policy, deadline_left_ms=-5).reason is Reason.DEADLINE


def test_deadline_is_held_against_what_was_measured(clock) -> None:
    policy = OffloadPolicy(CONFIG, clock=clock)
    for _ in range(10):
        _decide(policy)
        policy.succeeded(40.0, 1000)
    assert _decide(policy, deadline_left_ms=50).offload
    assert _decide(policy, deadline_left_ms=44).reason is Reason.DEADLINE
    policy.failed(waited_ms=900)
    policy.failed(waited_ms=900)
    assert policy.state().round_trip_ms == 900
    assert _decide(policy, deadline_left_ms=500).reason is Reason.DEADLINE


def test_recovers_after_the_back_off_with_one_probe(clock) -> None:
    policy = OffloadPolicy(CONFIG, clock=clock)
    for _ in range(3):
        _decide(policy)
        policy.failed()
    clock.wait(1.01)
    assert [_decide(policy).offload for _ in range(4)] == [True, False, False, False]
    assert _decide(policy).detail.endswith("one call is trying it now")
    policy.succeeded(50)
    assert policy.state().circuit is Circuit.CLOSED
    assert _decide(policy).offload


def test_threads_do_not_overdraw_the_budget() -> None:
    config = OffloadConfig(calls_per_minute=50, bytes_per_minute=30_000)
    policy = OffloadPolicy(config, clock=lambda: 0.0)
    with ThreadPoolExecutor(8) as pool:
        decisions = list(pool.map(lambda _: _decide(policy), range(400)))
    assert sum(d.offload for d in decisions) == 30
    assert {d.reason for d in decisions} == {Reason.UNSURE, Reason.BUDGET}
    assert policy.state().request_bytes == 30_000


def test_threads_share_one_probe(clock) -> None:
    policy = OffloadPolicy(CONFIG, clock=clock)
    for _ in range(3):
        _decide(policy)
        policy.failed()
    clock.wait(2)
    together = Barrier(8)

    def ask(_: int) -> bool:
        together.wait()
        return _decide(policy).offload

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1


@settings(deadline=None, max_examples=80)
@given(
    events=st.lists(
        st.tuples(
            st.sampled_from(["decide", "succeeded", "failed", "wait"]),
            st.floats(0, 1),
            st.one_of(st.none(), st.floats(-100, 2000)),
            st.sampled_from(["raw", "features", "never"]),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_whatever_happens_no_rule_is_broken(events, new_clock) -> None:
    clock = new_clock()
    config = OffloadConfig(calls_per_minute=4, bytes_per_minute=3500, thresholds={"default": 0.7})
    policy = OffloadPolicy(config, clock=clock, seed=0)
    asked: list[float] = []
    for kind, number, deadline, privacy, cloud in events:
        if kind == "wait":
            clock.wait(20 * number)
        elif kind == "succeeded":
            policy.succeeded(1000 * number)
        elif kind == "failed":
            policy.failed()
        else:
            before = policy.state()
            decision = _decide(policy, number, deadline_left_ms=deadline, privacy=privacy, cloud=cloud)
            assert decision.offload == (decision.reason is Reason.UNSURE)
            assert decision.detail
            if decision.offload:
                asked.append(clock.now)
                assert number < 0.7
                assert cloud
                assert privacy != "never"
                assert before.circuit is not Circuit.OPEN
                assert deadline is None or deadline >= before.round_trip_ms
                assert len([t for t in asked if t > clock.now - 60]) <= 3
            else:
                assert policy.state().calls == before.calls, "what is not sent costs nothing"


def test_setting_the_date_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    dates = iter([0.0, 4e9, -5e8] * 1000)
    monkeypatch.setattr(time, "time", lambda: next(dates))
    monkeypatch.setattr(time, "time_ns", lambda: int(next(dates) * 1e9))
    config = OffloadConfig(calls_per_minute=5, breaker=BreakerConfig(back_off_s=30, back_off_max_s=60))
    policy = OffloadPolicy(config)
    assert sum(_decide(policy).offload for _ in range(40)) == 5
    for _ in range(3):
        policy.failed()
    assert all(policy.state().circuit is Circuit.OPEN for _ in range(40))


def test_the_date_is_never_asked_for() -> None:
    # In a process of its own, where asking for the date ends it.
    code = """
import sys, time
def refuse(*_):
    sys.exit("the wall clock was read")
from fedaffect.edge.offload import OffloadConfig, OffloadPolicy
time.time = time.time_ns = time.localtime = time.gmtime = refuse
policy = OffloadPolicy(OffloadConfig())
for _ in range(5):
    policy.decide(0.1, modalities=("text",), request_bytes=10, deadline_left_ms=900, privacy="raw")
    policy.succeeded(10.0)
    policy.failed(20.0)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "settings",
    [
        {"thresholds": {"default": -0.1}},
        {"thresholds": {"default": math.nan}},
        {"thresholds": {"audio+text": 0.5}},
        {"thresholds": {"smell": 0.5}},
        {"expected_round_trip_ms": -1.0},
        {"deadline_margin_ms": math.inf},
    ],
)
def test_settings_out_of_range_are_refused(settings) -> None:
    with pytest.raises(ConfigError):
        OffloadConfig(**settings)


def test_an_unknown_privacy_or_modality_is_refused(clock) -> None:
    policy = OffloadPolicy(CONFIG, clock=clock)
    with pytest.raises(ConfigError, match="privacy"):
        _decide(policy, privacy="sometimes")
    with pytest.raises(ConfigError, match="modality"):
        _decide(policy, modalities=("smell",))
