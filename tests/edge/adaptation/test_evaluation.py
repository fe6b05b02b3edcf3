"""Off-policy evaluation: equal to a kept library, unbiased, with intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from fedaffect.edge.adaptation.learning.evaluation import Logged, advantage, doubly_robust, ips, snips
from fedaffect.edge.errors import DataError

_RESPONSES = 3


class World:
    """Constructed: contexts of three kinds, and a chance of reward for each response in each of them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.chance = self.rng.uniform(0.2, 0.8, (3, _RESPONSES))
        self.behaviour = 0.3 / _RESPONSES + 0.7 * self.rng.dirichlet(np.ones(_RESPONSES), 3)
        self.policy = self.rng.dirichlet(np.ones(_RESPONSES), 3)
        self.other = self.rng.dirichlet(np.ones(_RESPONSES), 3)
        # A model that is wrong, as models are.
        self.expected = np.clip(self.chance + self.rng.normal(0, 0.15, self.chance.shape), 0, 1)

    def logged(self, count: int) -> tuple[Logged, np.ndarray]:
        kinds = self.rng.integers(0, 3, count)
        taken = (self.behaviour[kinds].cumsum(axis=1) < self.rng.random((count, 1))).sum(axis=1)
        reward = (self.rng.random(count) < self.chance[kinds, taken]).astype(np.float64)
        return Logged(taken, self.behaviour[kinds, taken], reward), kinds

    def value(self, policy: np.ndarray) -> float:
        return float((policy * self.chance).sum(axis=1).mean())


def test_equal_to_obp_on_a_fixed_log() -> None:
    estimators = pytest.importorskip("obp.ope", reason="obp is in the extra 'test'")
    world = World(7)
    logged, kinds = world.logged(500)
    policy, expected = world.policy[kinds], world.expected[kinds]
    common = {"reward": logged.reward, "action": logged.taken, "action_dist": policy[:, :, None]}
    common |= {"pscore": logged.propensity, "position": np.zeros(500, dtype=int)}
    theirs = {
        "ips": estimators.InverseProbabilityWeighting().estimate_policy_value(**common),
        "snips": estimators.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**common),
        "dr": estimators.DoublyRobust().estimate_policy_value(
            **common, estimated_rewards_by_reg_model=expected[:, :, None]
        ),
    }
    assert ips(logged, policy).value == pytest.approx(theirs["ips"], abs=1e-9)
    assert snips(logged, policy).value == pytest.approx(theirs["snips"], abs=1e-9)
    assert doubly_robust(logged, policy, expected).value == pytest.approx(theirs["dr"], abs=1e-9)


def test_intervals_hold_the_truth() -> None:
    held = dict.fromkeys(("ips", "snips", "dr", "advantage"), 0)
    worlds = 400
    for seed in range(worlds):
        world = World(seed)
        logged, kinds = world.logged(400)
        policy, other, expected = world.policy[kinds], world.other[kinds], world.expected[kinds]
        truth = world.value(world.policy)
        for name, made, value in (
            ("ips", ips(logged, policy), truth),
            ("snips", snips(logged, policy), truth),
            ("dr", doubly_robust(logged, policy, expected), truth),
            ("advantage", advantage(logged, policy, other, expected), truth - world.value(world.other)),
        ):
            held[name] += made.low <= value <= made.high
    assert {name: count / worlds for name, count in held.items() if count / worlds < 0.93} == {}
    # And they say something: an interval that always holds is too wide.
    assert all(count < worlds for count in held.values())


def test_doubly_robust_needs_only_one_of_both_to_be_right() -> None:
    world = World(3)
    logged, kinds = world.logged(40_000)
    policy, truth = world.policy[kinds], world.value(world.policy)
    wrong_model = np.full_like(policy, 0.9)
    assert doubly_robust(logged, policy, wrong_model).value == pytest.approx(truth, abs=0.02)
    wrong_propensities = Logged(logged.taken, np.full(40_000, 1 / _RESPONSES), logged.reward)
    assert doubly_robust(wrong_propensities, policy, world.chance[kinds]).value == pytest.approx(truth, abs=0.02)
    # Without the model, wrong propensities give a wrong value.
    assert abs(ips(wrong_propensities, policy).value - truth) > 0.02


def test_judging_what_was_done_is_its_mean() -> None:
    world = World(1)
    logged, kinds = world.logged(100)
    made = ips(logged, world.behaviour[kinds])
    assert made.value == pytest.approx(logged.reward.mean())
    assert made.effective == pytest.approx(100)


@pytest.mark.parametrize(
    ("taken", "propensity", "reward", "words"),
    [
        ([0, 1], [0.5], [1.0, 0.0], "different lengths"),
        ([], [], [], "nothing is logged"),
        ([0], [0.0], [1.0], "propensity"),
        ([0], [1.5], [1.0], "propensity"),
    ],
)
def test_logs_that_say_nothing(taken: list[int], propensity: list[float], reward: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Logged(np.array(taken, dtype=np.int64), np.array(propensity), np.array(reward))


def test_policies_that_do_not_fit() -> None:
    logged = Logged(np.array([0, 2]), np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    with pytest.raises(DataError, match="shape"):
        ips(logged, np.array([[0.5, 0.5]]))
    with pytest.raises(DataError, match="shape"):
        ips(logged, np.array([[0.5, 0.5], [0.5, 0.5]]))
    with pytest.raises(DataError, match="add up to 1"):
        ips(logged, np.array([[0.5, 0.1, 0.1], [1.0, 0.0, 0.0]]))
    with pytest.raises(DataError, match="explore"):
        snips(logged, np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    with pytest.raises(DataError, match="give one each"):
        doubly_robust(logged, np.eye(3)[:2], np.zeros((2, 2)))
