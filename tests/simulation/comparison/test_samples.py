from __future__ import annotations

import numpy as np
import pytest

from fedaffect.simulation.comparison.samples import bootstrap, mcnemar_exact


def test_mcnemar_is_the_exact_binomial_test_on_discordant_samples() -> None:
    first = np.array([True] * 50 + [True] * 2 + [False] * 8 + [False] * 40)
    second = np.array([True] * 50 + [False] * 2 + [True] * 8 + [False] * 40)
    result = mcnemar_exact(first, second)
    assert (result.only_first, result.only_second) == (2, 8)
    # 2 * P(X <= 2), X ~ B(10, 1/2)
    assert result.p == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar_exact(first, first).p == 1.0


def test_bootstrap_measures_the_difference_in_uar_and_accuracy() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    first = np.zeros((1, 100), dtype=np.int64)  # always 0: accuracy 0.9, UAR 0.5
    second = labels.copy()[None]
    second[0, :18] = 1  # recalls 0.8 and 1: accuracy 0.82, UAR 0.9
    uar, accuracy = bootstrap(labels, first, second)
    assert uar.difference == pytest.approx(0.4)
    assert accuracy.difference == pytest.approx(-0.08)
    assert uar.low < 0.4 < uar.high
    assert uar.excludes_zero


@pytest.mark.slow
def test_interval_covers_as_often_as_it_says() -> None:
    """Two classifiers that are equally good: about one interval in 20 may miss zero."""
    generator = np.random.default_rng(0)
    missed = 0
    for trial in range(30):
        labels = generator.integers(0, 3, 300)
        right = generator.random((2, 300)) < 0.7
        one, other = np.where(right, labels, (labels + 1) % 3)
        uar, _ = bootstrap(labels, one[None], other[None], seed=trial)
        missed += uar.excludes_zero
    assert missed <= 5


def test_owners_drawn_whole_give_a_wider_interval_where_they_differ() -> None:
    generator = np.random.default_rng(1)
    owners = np.repeat([f"speaker {i}" for i in range(12)], 50)
    labels = generator.integers(0, 2, 600)
    helped = np.repeat(generator.random(12) < 0.5, 50)  # the second is right about some people only
    first = np.where(generator.random(600) < 0.6, labels, 1 - labels)
    second = np.where(generator.random(600) < np.where(helped, 0.95, 0.3), labels, 1 - labels)
    by_sample, _ = bootstrap(labels, first[None], second[None])
    by_owner, _ = bootstrap(labels, first[None], second[None], owners=owners)
    assert by_owner.difference == pytest.approx(by_sample.difference)
    assert by_owner.high - by_owner.low > 2 * (by_sample.high - by_sample.low)


def test_a_class_that_a_draw_lacks_counts_nowhere() -> None:
    labels = np.array([0] * 30 + [1])
    uar, _ = bootstrap(labels, labels[None] * 0, labels[None])
    assert np.isfinite([uar.low, uar.high]).all()
    assert uar.difference == pytest.approx(0.5)
