from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.offload import RunningQuantile


def test_before_anything_is_measured_the_expected_value_stands(clock) -> None:
    quantile = RunningQuantile(0.9, expected=300, clock=clock)
    assert quantile.value() == 300
    quantile.add(20)
    assert quantile.value() == 300
    quantile.add(800)
    assert quantile.value() == 800, "with few values, the worst seen"
    for _ in range(18):
        quantile.add(20)
    assert quantile.value() == 20


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=5, max_size=60), st.floats(0.01, 1))
def test_is_the_quantile_of_the_last_values(values: list[float], share: float) -> None:
    quantile = RunningQuantile(share, expected=0, window=16, clock=lambda: 0.0)
    for value in values:
        quantile.add(value)
    last = values[-16:]
    assert quantile.value() == np.quantile(last, share, method="inverted_cdf") or math.isclose(
        share * len(last), round(share * len(last)), abs_tol=1e-6
    )
    assert quantile.value() in last
    assert sum(v <= quantile.value() for v in last) >= share * len(last) - 1e-6


def test_what_is_old_is_forgotten_so_that_a_bad_estimate_ends(clock) -> None:
    quantile = RunningQuantile(0.9, expected=100, max_age_s=60, clock=clock)
    for _ in range(20):
        quantile.add(9000)
    assert quantile.value() == 9000
    clock.wait(61)
    assert len(quantile) == 0
    assert quantile.value() == 100


def test_window_is_bounded(clock) -> None:
    quantile = RunningQuantile(0.5, expected=1, window=8, clock=clock)
    for value in range(1000):
        quantile.add(value)
    assert len(quantile) == 8
    assert quantile.value() == 995


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_what_no_clock_measures_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="monotonic"):
        RunningQuantile(expected=1).add(value)


@pytest.mark.parametrize(
    "settings", [{"quantile": 0.0}, {"quantile": 1.1}, {"expected": -1.0}, {"least": 9, "window": 8}, {"max_age_s": 0}]
)
def test_settings_out_of_range_are_refused(settings) -> None:
    with pytest.raises(ConfigError):
        RunningQuantile(**{"expected": 1.0} | settings)
