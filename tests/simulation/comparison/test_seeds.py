from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon

from fedaffect.simulation.comparison.seeds import paired_seeds, smallest_wilcoxon_p


def test_agrees_with_the_paired_tests_it_stands_for() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(0.6, 0.02, 8)
    second = first + generator.normal(0.01, 0.005, 8)
    result = paired_seeds(range(8), list(first), list(second))
    assert result.mean == pytest.approx((second - first).mean())
    assert result.std == pytest.approx((second - first).std(ddof=1))
    assert result.t_p == pytest.approx(ttest_rel(second, first).pvalue)
    assert result.wilcoxon_p == pytest.approx(wilcoxon(second - first).pvalue)


def test_one_seed_has_no_spread_and_no_test() -> None:
    result = paired_seeds([0], [0.5], [0.6])
    assert (result.std, result.t_p, result.wilcoxon_p) == (0.0, None, None)


def test_equal_runs_are_no_difference_and_no_warning() -> None:
    result = paired_seeds([0, 1, 2], [0.5, 0.6, 0.7], [0.5, 0.6, 0.7])
    assert (result.mean, result.t_p, result.wilcoxon_p) == (0.0, 1.0, 1.0)


def test_five_seeds_can_never_convince_wilcoxon() -> None:
    result = paired_seeds(range(5), [0.1] * 5, [0.2, 0.21, 0.22, 0.23, 0.24])
    assert result.wilcoxon_p == pytest.approx(smallest_wilcoxon_p(5)) == pytest.approx(0.0625)
