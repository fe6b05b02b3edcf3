import math

import pytest

from fedaffect.client.privacy.accounting import ORDERS, Spending, epsilon, epsilon_from_rdp, rdp, solve_noise_multiplier
from fedaffect.edge.errors import ConfigError


@pytest.mark.slow
def test_epsilon_is_that_of_opacus_accountants() -> None:
    from opacus.accountants import PRVAccountant, RDPAccountant

    history = [(1.1, 0.2, 40), (0.9, 0.4, 10)]
    spendings = [Spending(*entry) for entry in history]
    reference = RDPAccountant()
    reference.history = list(history)
    assert epsilon(spendings, 1e-5) == pytest.approx(reference.get_epsilon(delta=1e-5, alphas=list(ORDERS)), rel=1e-9)
    tight = PRVAccountant()
    tight.history = list(history)
    assert epsilon(spendings, 1e-5, "prv") == pytest.approx(tight.get_epsilon(delta=1e-5), rel=1e-6)
    assert epsilon(spendings, 1e-5, "prv") < epsilon(spendings, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e-3, 0.05, 0.4, 0.97])
@pytest.mark.parametrize("noise", [0.3, 0.8, 2.0, 40.0])
def test_divergences_are_those_of_opacus_at_every_order(rate: float, noise: float) -> None:
    from opacus.accountants.analysis.rdp import compute_rdp

    reference = compute_rdp(q=rate, noise_multiplier=noise, steps=3, orders=list(ORDERS))
    assert rdp([Spending(noise, rate, 3)]) == pytest.approx(reference, rel=1e-6, abs=1e-9)


def test_a_gaussian_without_sampling_has_the_divergence_of_the_textbook() -> None:
    assert rdp([Spending(2.0, 1.0, 3)]) == pytest.approx([3 * a / 8 for a in ORDERS])


@pytest.mark.parametrize(
    ("target", "rate", "steps"), [(8.0, 0.4, 30), (1.0, 0.1, 100), (16.0, 1.0, 12), (2.0, 0.02, 500)]
)
def test_the_noise_that_is_solved_keeps_the_target_and_wastes_little(target: float, rate: float, steps: int) -> None:
    multiplier = solve_noise_multiplier(target, 1e-5, rate, steps)
    assert 0.99 * target <= epsilon([Spending(multiplier, rate, steps)], 1e-5) <= target


def test_the_tighter_accountant_needs_less_noise() -> None:
    assert solve_noise_multiplier(8.0, 1e-5, 1.0, 12, "prv") < solve_noise_multiplier(8.0, 1e-5, 1.0, 12)


def test_no_noise_spends_everything_and_no_step_nothing() -> None:
    assert epsilon([Spending(0.0, 0.5, 1)], 1e-5) == math.inf
    assert epsilon([Spending(1.0, 0.5, 0)], 1e-5) == 0
    assert epsilon([], 1e-5) == 0
    assert epsilon_from_rdp(rdp([]), 1e-5) == 0
    assert solve_noise_multiplier(math.inf, 1e-5, 0.5, 10) == 0


def test_impossible_targets_are_refused() -> None:
    with pytest.raises(ConfigError, match="--epsilon"):
        solve_noise_multiplier(0.0, 1e-5, 0.5, 10)
    with pytest.raises(ConfigError, match="--delta"):
        solve_noise_multiplier(1.0, 0.0, 0.5, 10)
    with pytest.raises(ConfigError, match="allow fewer rounds"):
        solve_noise_multiplier(1e-9, 1e-5, 1.0, 1000)
