import math

import numpy as np
import pytest
from scipy.stats import norm

from fedaffect.client.privacy.accounting import epsilon
from fedaffect.client.privacy.centring import CentredBudget, private_mean, unit_rows
from fedaffect.client.privacy.noise import SeededNoise
from fedaffect.edge.errors import ConfigError


def delta_of(mu: float, target: float) -> float:
    """Balle and Wang 2018, theorem 8, for a Gaussian mechanism of mu = 1 / z."""
    return float(norm.cdf(mu / 2 - target / mu) - math.exp(target) * norm.cdf(-mu / 2 - target / mu))


@pytest.mark.parametrize(("target", "steps", "share"), [(8.0, 4, 0.15), (1.0, 1, 0.5)])
def test_the_mean_and_the_steps_together_stay_within_the_budget_and_waste_little(
    target: float, steps: int, share: float
) -> None:
    budget = CentredBudget.within(target, 1e-5, steps, share, "prv")
    assert 0.98 * target <= epsilon(budget.spendings, 1e-5, "prv") <= target
    # Without sampling the whole is one Gaussian mechanism, whose delta is known exactly.
    of_mean, of_steps = budget.of_mean**-2, steps * budget.of_step**-2
    assert 0.8e-5 < delta_of(math.sqrt(of_mean + of_steps), target) <= 1e-5
    assert of_mean / (of_mean + of_steps) == pytest.approx(share)


def test_an_infinite_budget_needs_no_noise_and_a_share_leaves_something() -> None:
    assert CentredBudget.within(math.inf, 1e-5, 4, 0.2, "prv") == CentredBudget(0.0, 0.0, 4)
    for share, steps in ((0.0, 4), (1.0, 4), (0.5, 0)):
        with pytest.raises(ConfigError, match="share between 0 and 1"):
            CentredBudget.within(8.0, 1e-5, steps, share, "prv")


def test_a_mean_has_the_noise_of_its_multiplier() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(50, 4000)).astype(np.float32))
    # Where owners vary without bound, the noisy mean is believed whole.
    noisy = private_mean(rows, 2.0, np.full(4000, 1e6, np.float32), SeededNoise(0))
    assert float((noisy - rows.mean(axis=0)).std()) == pytest.approx(2.0 / 50, rel=0.05)
    exact = private_mean(rows, 0.0, np.zeros(4000, np.float32), SeededNoise(0))
    assert exact == pytest.approx(rows.mean(axis=0), abs=1e-6)


def test_shrinking_by_how_owners_vary_errs_less() -> None:
    random = np.random.default_rng(1)
    between = np.full(2000, 1e-4, np.float32)
    rows = unit_rows((np.sqrt(between) * random.normal(size=2000) + random.normal(size=(40, 2000))).astype(np.float32))
    errors = [
        float(np.square(private_mean(rows, 2.0, b, SeededNoise(2)) - rows.mean(axis=0)).mean())
        for b in (between, np.full(2000, 1e6, np.float32))
    ]
    assert errors[0] < 0.3 * errors[1]


def test_rows_that_noise_is_not_made_for_are_refused() -> None:
    between = np.ones(2, np.float32)
    with pytest.raises(ConfigError, match="scale them first"):
        private_mean(np.array([[3.0, 4.0]], np.float32), 1.0, between, SeededNoise(0))
    with pytest.raises(ConfigError, match="scale them first"):
        private_mean(np.array([[np.nan, 0.0], [1.0, 0.0]], np.float32), 1.0, between, SeededNoise(0))
    with pytest.raises(ConfigError, match="one at least"):
        private_mean(np.zeros((0, 2), np.float32), 1.0, between, SeededNoise(0))
