"""The personal part by itself: what it changes, and that it is used only where it helps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from fedaffect.edge.calibration.temperature import softmax
from fedaffect.edge.personal import PersonalHead, learned_from
from fedaffect.edge.personal.head import log_scores

CLASSES = 4


def answers(count: int, seed: int, spread: float = 2.0) -> NDArray[np.float64]:
    return softmax(np.random.default_rng(seed).normal(0, spread, (count, CLASSES)))


def test_without_labels_nothing_changes() -> None:
    head = PersonalHead.fitted(np.zeros((0, CLASSES)), np.zeros(0, dtype=np.int64))
    shared = answers(20, 0)
    assert np.allclose(head(shared), shared, atol=2e-3)
    assert head(shared[0]).shape == (CLASSES,)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(0, 1000), st.floats(0.1, 20), st.floats(0.1, 20))
def test_it_is_the_most_probable_one(count: int, seed: int, mixing: float, bias: float) -> None:
    shared, labels = answers(count, seed), np.random.default_rng(seed).integers(0, CLASSES, count)
    head = PersonalHead.fitted(shared, labels, mixing, bias)

    def loss(flat: NDArray[np.float64]) -> float:
        weights = flat.reshape(CLASSES, CLASSES + 1)
        other = PersonalHead(weights[:, :-1], weights[:, -1])
        likelihood = np.log(other(shared)[np.arange(count), labels]).sum()
        return float(mixing * (other.mixing**2).sum() / 2 + bias * (other.bias**2).sum() / 2 - likelihood)

    found = np.concatenate([head.mixing, head.bias[:, None]], axis=1).ravel()
    best = minimize(loss, np.zeros(CLASSES * (CLASSES + 1)))
    assert loss(found) <= best.fun + 1e-6


def test_somebody_who_is_always_mistaken_for_another_is_understood() -> None:
    shared = answers(40, 1)
    meant = (shared.argmax(axis=1) + 1) % CLASSES
    learned = learned_from(shared[:32], meant[:32])
    assert learned.head is not None
    assert learned.shared_right == 0
    assert learned.personal_right > 0.5
    assert (learned.head(shared[32:]).argmax(axis=1) == meant[32:]).mean() >= 0.5
    assert sum(map(sum, learned.said_for)) == 32
    assert all(learned.said_for[c][c] == 0 for c in range(CLASSES))


def test_whom_the_shared_model_understands_is_answered_by_it() -> None:
    used = 0
    for seed in range(40):
        shared = answers(24, seed)
        draw = np.random.default_rng(seed + 1000)
        labels = np.array([draw.choice(CLASSES, p=p) for p in shared])
        used += learned_from(shared, labels).head is not None
    # Whose confidence is right gains nothing; chance makes a part look better now and then.
    assert used <= 5


@pytest.mark.parametrize("count", range(4))
def test_three_labels_are_too_few(count: int) -> None:
    learned = learned_from(answers(count, 0), np.zeros(count, dtype=np.int64))
    assert learned.head is None
    assert learned.labels == count
    assert np.isnan(learned.personal_right)


def test_certainties_stay_finite() -> None:
    sure = np.eye(CLASSES)[np.arange(12) % CLASSES]
    assert np.isfinite(log_scores(sure)).all()
    learned = learned_from(sure, (np.arange(12) + 1) % CLASSES)
    assert learned.head is not None
    assert np.isfinite(learned.head(sure)).all()
    assert learned.head(sure).sum(axis=1) == pytest.approx(np.ones(12))


def test_labels_of_one_emotion_alone_teach_nothing() -> None:
    shared = answers(24, 0)
    one = np.zeros(24, dtype=np.int64)
    assert learned_from(shared, one).head is None
    # What they lack is others to tell it from: one is enough to be held against.
    assert learned_from(shared, np.r_[one[1:], 1]).head is not None
