from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.tokens import pooled_width, resample


def test_windows_become_their_mean_and_deviation() -> None:
    features = np.arange(40, dtype=np.float32)[:, None] * np.array([1.0, -2.0], np.float32)
    tokens = resample(features, 50, 2.5, "mean_std")
    assert tokens.shape == (2, 4) == (2, pooled_width(2, "mean_std"))
    np.testing.assert_allclose(tokens[:, 0], [9.5, 29.5])
    np.testing.assert_allclose(tokens[1, 2:], [features[20:, 0].std(), features[20:, 1].std()], rtol=1e-6)


@pytest.mark.parametrize(("frames", "tokens"), [(1, 1), (9, 1), (20, 1), (29, 1), (30, 2), (40, 2), (49, 2), (50, 3)])
def test_last_window_is_kept_from_half_on(frames: int, tokens: int) -> None:
    assert len(resample(np.ones((frames, 3), np.float32), 50, 2.5)) == tokens


def test_faster_tokens_repeat_frames() -> None:
    tokens = resample(np.array([[1.0], [2.0]], np.float32), 5, 10)
    np.testing.assert_array_equal(tokens.ravel(), [1, 1, 2, 2])


@settings(deadline=None)
@given(st.integers(1, 400), st.floats(1, 100), st.floats(0.3, 30), st.sampled_from(["mean", "mean_std"]))
def test_any_rates_give_finite_tokens_at_that_rate(frames: int, rate: float, wanted: float, statistics: str) -> None:
    features = np.linspace(0, 1, frames, dtype=np.float32)[:, None]
    tokens = resample(features, rate, wanted, statistics)
    assert np.isfinite(tokens).all()
    assert abs(len(tokens) - frames * wanted / rate) <= 1
    assert (np.diff(tokens[:, 0]) >= -1e-6).all()


@pytest.mark.parametrize("bad", [np.zeros((0, 3), np.float32), np.zeros(3, np.float32)])
def test_nothing_to_pool_is_an_error(bad: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="shape"):
        resample(bad, 50, 2.5)


def test_unknown_statistics_list_the_known() -> None:
    with pytest.raises(ConfigError, match="mean_std"):
        resample(np.ones((3, 2), np.float32), 50, 2.5, "median")
