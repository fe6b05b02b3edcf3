from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedaffect.edge.calibration import (
    expected_calibration_error,
    fit_temperature,
    fit_temperatures,
    negative_log_likelihood,
    softmax,
)
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.subsets import subset_key


@st.composite
def predictions(draw, least: int = 1):
    """Scores (N, C) and labels (N,), small and strange ones among them."""
    n, c = draw(st.integers(least, 30)), draw(st.integers(1, 7))
    bound = draw(st.sampled_from([2.0**-20, 1.0, 30.0, 1e6]))
    logits = draw(hnp.arrays(np.float32, (n, c), elements=st.floats(-bound, bound, width=32)))
    labels = draw(hnp.arrays(np.int64, n, elements=st.integers(0, c - 1)))
    return logits, labels


def constructed(n: int, temperature: float, seed: int = 0):
    """Scores whose labels are drawn from softmax(scores / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 7)) * 2.5
    drawn = (softmax(logits, temperature).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits, drawn


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(predictions())
def test_fitting_never_makes_the_labels_less_likely(given_) -> None:
    logits, labels = given_
    temperature = fit_temperature(logits, labels)
    assert 0.05 <= temperature <= 20
    before = negative_log_likelihood(logits, labels)
    assert negative_log_likelihood(logits, labels, temperature) <= before + 1e-9 * max(1, before)


@settings(deadline=None, max_examples=200)
@given(predictions(), st.floats(0.05, 20))
def test_no_temperature_changes_who_wins(given_, temperature: float) -> None:
    logits, _ = given_
    probabilities = softmax(logits, temperature)
    winners = probabilities[np.arange(len(logits)), logits.argmax(axis=1)]
    np.testing.assert_array_equal(winners, probabilities.max(axis=1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5, 6.0])
def test_finds_the_temperature_that_made_the_labels(true: float) -> None:
    logits, labels = constructed(20_000, true)
    assert fit_temperature(logits, labels) == pytest.approx(true, rel=0.06)


def test_is_the_optimum_of_the_likelihood_where_there_is_enough_data() -> None:
    logits, labels = constructed(4000, 2.0)
    best = fit_temperature(logits, labels)
    here = negative_log_likelihood(logits, labels, best)
    for other in np.geomspace(0.5, 8, 40):
        assert here <= negative_log_likelihood(logits, labels, other) + 1e-5


def test_calibration_error_falls_on_new_data() -> None:
    fitted = fit_temperature(*constructed(3000, 3.0, seed=1))
    logits, labels = constructed(3000, 3.0, seed=2)
    before = expected_calibration_error(softmax(logits), labels)
    after = expected_calibration_error(softmax(logits, fitted), labels)
    assert before > 0.2
    assert after < 0.03


def test_few_samples_that_are_all_right_ask_for_little() -> None:
    logits = np.eye(4)[[0, 1, 2]] * 3
    assert 0.5 < fit_temperature(logits, np.array([0, 1, 2])) < 1
    assert 1 < fit_temperature(logits, np.array([1, 2, 3])) < 20


def test_many_samples_that_are_all_right_stay_within_bounds() -> None:
    labels = np.arange(5000) % 4
    assert 0.05 <= fit_temperature(np.eye(4)[labels] * 3, labels) < 0.5
    assert fit_temperature(np.eye(4)[labels] * 1e30, (labels + 1) % 4) == pytest.approx(20)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [(np.zeros((0, 7)), np.zeros(0, int)), (np.ones((5, 1)), np.zeros(5, int)), (np.full((5, 7), 3.0), np.arange(5))],
)
def test_where_nothing_can_be_learned_it_is_one(logits, labels) -> None:
    assert fit_temperature(logits, labels) == 1.0
    assert math.isfinite(negative_log_likelihood(logits, labels))


def test_each_subset_has_its_own() -> None:
    sharp, labels = constructed(4000, 0.5)
    soft, soft_labels = constructed(4000, 4.0, seed=5)
    found = fit_temperatures(
        np.concatenate([sharp, soft]),
        np.concatenate([labels, soft_labels]),
        ["text"] * 4000 + ["text+audio"] * 4000,
    )
    assert found == {"text": fit_temperature(sharp, labels), "text+audio": fit_temperature(soft, soft_labels)}
    assert found["text"] < 1 < found["text+audio"]


def test_calibration_error_by_hand() -> None:
    # Two of confidence 0.6, one right; two of confidence 0.9, both right: (2 x 0.1 + 2 x 0.1) / 4.
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.9, 0.1], [0.1, 0.9]])
    assert expected_calibration_error(probabilities, np.array([0, 1, 0, 1]), bins=10) == pytest.approx(0.1)
    assert expected_calibration_error(np.zeros((0, 2)), np.zeros(0, int)) == 0


@settings(deadline=None)
@given(predictions())
def test_calibration_error_is_a_share(given_) -> None:
    logits, labels = given_
    assert 0 <= expected_calibration_error(softmax(logits), labels) <= 1


@pytest.mark.parametrize(
    ("logits", "labels", "what"),
    [
        (np.array([[0.0, np.nan]]), np.array([0]), "NaN"),
        (np.zeros((2, 3)), np.array([0, 3]), "do not name 3 classes"),
        (np.zeros((2, 3)), np.array([0, -1]), "do not name 3 classes"),
        (np.zeros((2, 3)), np.array([0]), "do not fit"),
        (np.zeros(3), np.array([0]), "do not fit"),
        (np.zeros((1, 3)), np.array([0.5]), "integers"),
    ],
)
def test_what_is_no_prediction_is_refused(logits, labels, what: str) -> None:
    with pytest.raises(DataError, match=what):
        fit_temperature(logits, labels)


def test_subsets_are_named_in_one_order() -> None:
    assert subset_key(["video", "text"]) == "text+video"
    assert subset_key(("audio", "audio")) == "audio"
    with pytest.raises(ConfigError, match="no modality"):
        subset_key([])
    with pytest.raises(ConfigError, match="unknown modality 'vidio'; did you mean 'video'"):
        subset_key(["vidio"])
