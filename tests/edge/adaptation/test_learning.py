"""Learning what helps: bandits, what is logged, bounded tries, and when the learned policy is followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.edge.adaptation.test_adapter import answer

from fedaffect.edge.adaptation import Adapter, Policy
from fedaffect.edge.adaptation.learning.bandits import BANDITS, Linear, LinUCB, ThompsonSampling
from fedaffect.edge.adaptation.learning.learner import FIRST, Learner, judged_at, open_learner
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.store.database import Database

_SHARES = {"glad": 0.1, "low": 0.7, "tense": 0.1}


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    return open_learner(Policy.read(), tmp_path / "device.sqlite3", rng=np.random.default_rng(0), explore=0.3)


def live(learner: Learner, decisions: int, helps: Callable[[str], float], seed: int = 1) -> float:
    """A constructed person who is low again and again, and says whether it helped; the mean reward."""
    rng, total = np.random.default_rng(seed), 0.0
    for _ in range(decisions):
        response, decision = learner("low", _SHARES)
        value = float(rng.random() < helps(response))
        learner.reward(decision, "helped", value)
        total += value
    return total / decisions


def test_thompson_propensities_are_those_of_drawing() -> None:
    bandit = ThompsonSampling({"a": np.array([0.5, 0.0]), "b": np.array([0.6, 0.1]), "c": np.array([0.4, 0.3])})
    rng = np.random.default_rng(0)
    for _ in range(20):
        bandit.learn(rng.normal(size=2), str(rng.choice(["a", "b", "c"])), rng.random())
    context = np.array([1.0, 0.4])
    means, deviations = bandit._beliefs(context, ("a", "b", "c"))
    drawn = rng.normal(means, 0.5 * deviations, (200_000, 3)).argmax(axis=1)
    shares = bandit.propensities(context, ("a", "b", "c"))
    assert list(shares.values()) == pytest.approx(np.bincount(drawn, minlength=3) / 200_000, abs=0.01)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_linear_is_ridge_regression_about_the_prior() -> None:
    rng = np.random.default_rng(0)
    contexts, rewards, prior = rng.normal(size=(30, 3)), rng.normal(size=30), np.array([1.0, -1.0, 0.5])
    model = Linear({"a": prior}, ridge=2.0)
    for context, reward in zip(contexts, rewards, strict=True):
        model.learn(context, "a", reward)
    gram = contexts.T @ contexts + 2.0 * np.eye(3)
    weights = prior + np.linalg.solve(gram, contexts.T @ (rewards - contexts @ prior))
    assert model.expected(np.array([1.0, 2.0, 3.0]), "a") == pytest.approx(float(weights @ [1.0, 2.0, 3.0]))


def test_linucb_tries_what_it_knows_little_of() -> None:
    bandit = LinUCB({"a": np.array([0.5]), "b": np.array([0.5])})
    for _ in range(20):
        bandit.learn(np.array([1.0]), "a", 0.6)
    assert bandit.propensities(np.array([1.0]), ("a", "b")) == {"a": 0.0, "b": 1.0}
    assert bandit.greedy(np.array([1.0]), ("a", "b")) == "a"


@pytest.mark.parametrize("bandit", BANDITS)
def test_propensities_are_logged_and_tries_are_bounded(tmp_path: Path, bandit: str) -> None:
    learner = open_learner(Policy.read(), tmp_path / "d.sqlite3", bandit=bandit, explore=0.2)
    live(learner, 40, lambda response: response == "calm")
    logged = learner.decisions()
    assert len(logged) == 40
    for decision in logged:
        assert decision.response in decision.propensities
        assert sum(decision.propensities.values()) == pytest.approx(1.0)
        # The policy's own, or the learned one's: whatever is followed has at least what is not for tries.
        assert max(decision.propensities.values()) >= 0.8 - 1e-12
        assert set(decision.propensities) == {"support", "calm", "plain"}
    # Never what the policy does not allow for somebody who is low.
    assert "brighten" not in {decision.response for decision in logged}


def test_what_helps_is_followed_once_it_is_sure(tmp_path: Path) -> None:
    learner = open_learner(Policy.read(), tmp_path / "d.sqlite3", explore=0.4, rng=np.random.default_rng(3))
    assert learner.verdict.followed is None
    live(learner, FIRST - 1, lambda response: 0.9 if response == "calm" else 0.1)
    assert learner.verdict.followed is None
    live(learner, 3 * FIRST + 1, lambda response: 0.9 if response == "calm" else 0.1)
    assert learner.verdict.followed is not None
    assert learner.verdict.advantage.low > 0
    shares = [decision.propensities["calm"] for decision in learner.decisions()]
    learner("low", _SHARES)
    assert learner.decisions()[-1].propensities["calm"] > 0.9 > np.mean(shares[:FIRST])


def test_the_policy_stays_where_it_is_the_best(tmp_path: Path) -> None:
    for seed in range(5):
        learner = open_learner(
            Policy.read(), tmp_path / f"{seed}.sqlite3", explore=0.3, rng=np.random.default_rng(seed)
        )
        live(learner, 2 * FIRST, lambda response: 0.7 if response == "support" else 0.4, seed)
        assert learner.verdict.followed is None


def test_it_is_there_after_a_restart_and_gone_after_erasing(tmp_path: Path) -> None:
    path = tmp_path / "d.sqlite3"
    live(open_learner(Policy.read(), path, explore=0.4), 20, lambda response: response == "calm")
    again = open_learner(Policy.read(), path)
    assert len(again.decisions()) == 20
    assert again.erase() == 20
    assert again.decisions() == []
    assert b"support" not in path.read_bytes()


def test_an_adapter_takes_what_is_chosen(learner: Learner) -> None:
    adapter = Adapter(learner.policy, choose=learner)
    made = adapter(answer(sadness=0.9), 0.0)
    # One decision a state that begins, not one an answer.
    assert [adapter(answer(sadness=0.9), 0.5 * step).decision for step in range(1, 5)] == 4 * [made.decision]
    (logged,) = learner.decisions()
    assert (logged.id, logged.response, logged.state) == (made.decision, made.response, "low")
    learner.reward(made.decision, "dwell", 0.5)
    learner.reward(made.decision, "helped", 0.0)
    learner.reward(made.decision, "helped", 1.0)
    assert learner.decisions()[0].rewards == {"dwell": 0.5, "helped": 1.0}


def test_a_log_of_another_policy_teaches_nothing(tmp_path: Path) -> None:
    path, policy = tmp_path / "d.sqlite3", Policy.read()
    live(open_learner(policy, path, explore=0.4), FIRST, lambda response: response == "calm")
    fewer = {name: state for name, state in policy.states.items() if name != "glad"}
    other = open_learner(replace(policy, states=fewer), path)
    assert len(other.decisions()) == FIRST
    assert other.verdict.rewarded == 0


def test_mistakes(learner: Learner, tmp_path: Path) -> None:
    _, decision = learner("low", _SHARES)
    with pytest.raises(DataError, match="from 0 to 1"):
        learner.reward(decision, "helped", 2.0)
    with pytest.raises(DataError, match="from 0 to 1"):
        learner.reward(decision, "helped", float("nan"))
    with pytest.raises(DataError, match="no decision 'x'"):
        learner.reward("x", "helped", 1.0)
    with pytest.raises(ConfigError, match="did you mean 'helped'"):
        learner.reward(decision, "helpd", 1.0)
    with pytest.raises(ConfigError, match="known: linucb, thompson"):
        Learner(Policy.read(), Database(tmp_path / "x"), bandit="ucb")
    with pytest.raises(ConfigError, match=r"not 0\.9"):
        Learner(Policy.read(), Database(tmp_path / "y"), explore=0.9)


@pytest.mark.parametrize(("rewarded", "judged"), [(0, 0), (63, 0), (64, 64), (127, 64), (128, 128), (1000, 512)])
def test_judged_at_doubling_counts(rewarded: int, judged: int) -> None:
    assert judged_at(rewarded) == judged


def test_another_policy_is_judged_by_the_log(tmp_path: Path) -> None:
    options = {"bandit": "thompson", "explore": 0.5, "rng": np.random.default_rng(0)}
    learner = open_learner(Policy.read(), tmp_path / "d.sqlite3", **options)
    with pytest.raises(DataError, match=f"from {FIRST} on"):
        learner.judged(learner.policy)
    live(learner, 8 * FIRST, lambda response: 0.6 if response == "support" else 0.5)
    policy = learner.policy
    calm = replace(policy, states={**policy.states, "low": replace(policy.states["low"], response="calm")})
    for other, truth in ((policy, 0.6), (calm, 0.5)):
        for made in learner.judged(other).values():
            assert made.low <= truth <= made.high
            assert made.effective > 5
    never = replace(policy, states={**policy.states, "low": replace(policy.states["low"], response="brighten")})
    with pytest.raises(ConfigError, match="never tried; choose from support, calm, plain"):
        learner.judged(never)
