"""Learns which response helps this person, beside the policy and never far from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.adaptation.learning.bandits import BANDITS, Linear
from fedaffect.edge.adaptation.learning.evaluation import Estimate, Logged, advantage, doubly_robust, ips, snips
from fedaffect.edge.adaptation.policy import Policy
from fedaffect.edge.errors import ConfigError, DataError, unknown_name
from fedaffect.edge.store.database import Database, default_path
from fedaffect.edge.store.decisions import Decision, Decisions

# What each kind of reward counts, where several came of one decision.
KINDS: Final[Mapping[str, float]] = {"helped": 3.0, "completed": 2.0, "dwell": 1.0}
# Reward that is expected at first, and how much more of the policy's own response.
_USUAL: Final = 0.5
_MORE: Final = 0.1
# Rewarded decisions at which the learned policy is judged for the first time; then at twice as many, and so on.
FIRST: Final = 64
# Chance in all of ever taking a learned policy that is no better.
_ERROR: Final = 0.05


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the learned policy is followed.

    Parameters
    ----------
    followed : Linear, optional
        The learned policy that is: the greedy one of a bandit that learned from the older half of what was judged.
    advantage : Estimate, optional
        Its reward less the fixed policy's on the newer half; none before the first judgement.
    rewarded : int
        Decisions that were judged.
    """

    followed: Linear | None = None
    advantage: Estimate | None = None
    rewarded: int = 0


class Learner:
    """Chooses a response where a state begins: mostly the policy's, now and then another that may be tried.

    With probability ``1 - explore`` the policy's own response is taken, or that of the learned policy once it was
    judged to be better; else what the bandit would. Each decision is logged with the probabilities that it was drawn
    from. A learned policy is judged on decisions that it did not learn from, when there are 64, 128, 256, … with a
    reward, and is followed only where the lower bound of what it earns more is above zero; the bounds' levels are such
    that the chance of ever being wrong is at most 5 % in all. Everything stays in the device's file. Safe to call from
    several threads.

    Parameters
    ----------
    policy : Policy
    database : Database, optional
        The device's file; opened at its default path if not given.
    bandit : {"linucb", "thompson"}
    explore : float
        At most 0.5.
    rng : numpy Generator, optional
        Seeded by the operating system if not given.

    Raises
    ------
    ConfigError
        If ``bandit`` or ``explore`` does not fit.
    StoreError
        If the file cannot be opened.
    """

    def __init__(
        self,
        policy: Policy,
        database: Database | None = None,
        *,
        bandit: str = "linucb",
        explore: float = 0.1,
        rng: np.random.Generator | None = None,
    ) -> None:
        if bandit not in BANDITS:
            raise unknown_name("bandit", bandit, BANDITS)
        if not 0 <= explore <= 0.5:
            raise ConfigError(f"between 0 and half of the decisions may be tries, not {explore:g}")
        self.policy = policy
        self._kind = bandit
        self._explore = explore
        self._rng = rng or np.random.default_rng()
        self._database = database or Database(default_path())
        self._decisions = Decisions(self._database)
        self._states = tuple(policy.states)
        self._lock = Lock()
        self._bandit: Any = None
        self._verdict = Verdict()
        # Decisions of this policy that have a reward, by id, in their order.
        self._rewarded: dict[str, Decision] = {}
        self._seen = -1

    @property
    def verdict(self) -> Verdict:
        """Whether the learned policy is followed, and why.

        Raises
        ------
        StoreError
            If the log cannot be read.
        """
        with self._lock:
            self._load()
            return self._verdict

    def __call__(self, state: str, shares: Mapping[str, float]) -> tuple[str, str]:
        """The response to a state that begins, and the id of this decision.

        Parameters
        ----------
        state : str
            Of the policy.
        shares : mapping of str to float
            Of each state, of probability.

        Raises
        ------
        StoreError
            If the decision cannot be logged.
        """
        with self._lock:
            self._load()
            context = self._context(state, shares)
            propensities = self._propensities(state, context)
            names = list(propensities)
            response = names[int(self._rng.choice(len(names), p=list(propensities.values())))]
            logged = self._decisions.add(self.policy.version, state, response, propensities, tuple(context.tolist()))
            return response, logged

    def reward(self, decision: str, kind: str, value: float) -> None:
        """Say what came of a decision.

        Parameters
        ----------
        decision : str
            Of an `Adaptation`.
        kind : {"helped", "completed", "dwell"}
            The person says so, the task was completed, or how long they stayed as a share of what was hoped for.
        value : float
            0 to 1.

        Raises
        ------
        ConfigError
            If the kind is unknown.
        DataError
            If there is no such decision, or the value is not from 0 to 1.
        StoreError
            If it cannot be written.
        """
        if kind not in KINDS:
            raise unknown_name("kind of reward", kind, KINDS)
        with self._lock:
            self._load()
            self._take(self._decisions.reward(decision, kind, value))

    def decisions(self) -> list[Decision]:
        """All that is logged, oldest first.

        Raises
        ------
        StoreError
            If it cannot be read.
        """
        return self._decisions.all()

    def erase(self) -> int:
        """Forget everything, for good; how many decisions there were.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        with self._lock:
            count = self._decisions.erase()
            self._seen = -1
            return count

    def judged(self, policy: Policy) -> dict[str, Estimate]:
        """What another policy, without learning, would have earned on the newer half of this log.

        Parameters
        ----------
        policy : Policy
            With this one's states; its responses to them are among those that may be tried here.

        Returns
        -------
        dict of str to Estimate
            ``ips``, ``snips`` and ``doubly_robust``, whose model learned from the older half.

        Raises
        ------
        ConfigError
            If the policy does what is never tried here.
        DataError
            If fewer than ``FIRST`` responses have a reward, or none of those that the policy takes.
        StoreError
            If the log cannot be read.
        """
        with self._lock:
            self._load()
            rewarded = list(self._rewarded.values())
        if len(rewarded) < FIRST:
            raise DataError(f"{len(rewarded)} responses have a reward; from {FIRST} on a policy can be judged")
        for name in self._states:
            response = policy.states[name].response if name in policy.states else ""
            if response not in self._allowed(name):
                raise ConfigError(
                    f"state {name!r} is answered with {response or 'nothing'!r}, which was never tried; "
                    f"choose from {', '.join(self._allowed(name))}"
                )
        older, newer = rewarded[: len(rewarded) // 2], rewarded[len(rewarded) // 2 :]
        logged, names = _logged(newer)
        taken = np.zeros((len(newer), len(names)))
        for row, decision in enumerate(newer):
            taken[row, names.index(policy.states[decision.state].response)] = 1.0
        return {
            "ips": ips(logged, taken),
            "snips": snips(logged, taken),
            "doubly_robust": doubly_robust(logged, taken, _expected(self._learned(older), newer, names)),
        }

    def close(self) -> None:
        """Give the device's file back."""
        self._database.close()

    def fixed(self, decision: Decision) -> str:
        """What the policy does without learning."""
        return self.policy.states[decision.state].response

    def _load(self) -> None:
        """Learn from the log, at first and where another process wrote to it."""
        if self._seen == (version := self._decisions.written_elsewhere()):
            return
        self._seen = version
        self._rewarded = {one.id: one for one in self._decisions.all() if one.rewards and self._is_ours(one)}
        rewarded = list(self._rewarded.values())
        self._bandit = self._learned(rewarded)
        self._verdict = self._judged(rewarded[: judged_at(len(rewarded))])

    def _take(self, decision: Decision) -> None:
        """Learn from a reward that has just come."""
        if not self._is_ours(decision):
            return
        known = decision.id in self._rewarded
        self._rewarded[decision.id] = decision
        if known:
            self._bandit = self._learned(list(self._rewarded.values()))
            return
        self._bandit.learn(np.array(decision.context), decision.response, reward_of(decision))
        if judged_at(count := len(self._rewarded)) == count:
            self._verdict = self._judged(list(self._rewarded.values()))

    def _is_ours(self, one: Decision) -> bool:
        """Whether its state, responses and context are this policy's."""
        return (
            one.state in self.policy.states
            and {*one.propensities} == {*self._allowed(one.state)}
            and one.response in one.propensities
            and len(one.context) == len(self._states) + 1
        )

    def _judged(self, rewarded: Sequence[Decision]) -> Verdict:
        if not rewarded:
            return Verdict()
        older, newer = rewarded[: len(rewarded) // 2], rewarded[len(rewarded) // 2 :]
        learned = self._learned(older)
        earned = gained(newer, learned.greedy, lambda one, _: self.fixed(one), learned, self._level(len(rewarded)))
        return Verdict(learned if earned.low > 0 else None, earned, len(rewarded))

    def _level(self, count: int) -> float:
        """Of the two-sided interval at the judgement of that many: errors of a twentieth are spread as 1/2, 1/4, …."""
        number = round(math.log2(count / FIRST)) + 1
        return 1.0 - 2.0 * _ERROR / 2.0**number

    def _learned(self, rewarded: Sequence[Decision]) -> Any:
        bandit = BANDITS[self._kind](self._prior())
        for one in rewarded:
            bandit.learn(np.array(one.context), one.response, reward_of(one))
        return bandit

    def _prior(self) -> dict[str, NDArray[np.float64]]:
        """Each response's weights: what is usual where it may be tried, and more where it is the policy's own."""
        return {
            name: np.array(
                [_USUAL + _MORE * (self.policy.states[state].response == name) for state in self._states] + [0.0]
            )
            for name in self.policy.responses
        }

    def _allowed(self, state: str) -> tuple[str, ...]:
        found = self.policy.states[state]
        return tuple(dict.fromkeys((found.response, *found.may_try)))

    def _context(self, state: str, shares: Mapping[str, float]) -> NDArray[np.float64]:
        """One for the state, zero for the others, and how much more than half of the probability it has."""
        return np.array([float(name == state) for name in self._states] + [shares[state] - 0.5])

    def _propensities(self, state: str, context: NDArray[np.float64]) -> dict[str, float]:
        allowed = self._allowed(state)
        followed = self._verdict.followed
        usual = self.policy.states[state].response if followed is None else followed.greedy(context, allowed)
        tried = self._bandit.propensities(context, allowed)
        shares = {name: (1 - self._explore) * (name == usual) + self._explore * tried[name] for name in allowed}
        return {name: min(share, 1.0) for name, share in shares.items()}


def open_learner(policy: Policy, path: Path | None = None, **options: Any) -> Learner:
    """A learner on the device's file; parameters and errors as of `Learner`."""
    return Learner(policy, Database(path or default_path()), **options)


def judged_at(rewarded: int) -> int:
    """How many of so many rewarded decisions the newest judgement rests on: 64, 128, 256, …, or none."""
    return 0 if rewarded < FIRST else FIRST * 2 ** int(math.log2(rewarded / FIRST))


def reward_of(decision: Decision) -> float:
    """The mean of a decision's rewards, each kind by its weight."""
    weight = math.fsum(KINDS[kind] for kind in decision.rewards)
    return math.fsum(KINDS[kind] * value for kind, value in decision.rewards.items()) / weight


def gained(
    rewarded: Sequence[Decision],
    one: Callable[[NDArray[np.float64], Sequence[str]], str],
    other: Callable[[Decision, Sequence[str]], str],
    expected: Linear,
    level: float = 0.95,
) -> Estimate:
    """How much more one way to respond earns than another on logged decisions; see `evaluation.advantage`.

    Parameters
    ----------
    rewarded : sequence of Decision
        With a reward each.
    one : callable
        Of a context and the responses that are allowed.
    other : callable
        Of a decision and the responses that are allowed.
    expected : Linear
        That learned from other decisions than these.
    level : float
    """
    logged, names = _logged(rewarded)
    first, second = (np.zeros((len(rewarded), len(names))) for _ in range(2))
    for row, decision in enumerate(rewarded):
        allowed = list(decision.propensities)
        first[row, names.index(one(np.array(decision.context), allowed))] = 1.0
        second[row, names.index(other(decision, allowed))] = 1.0
    return advantage(logged, first, second, _expected(expected, rewarded, names), level)


def _logged(rewarded: Sequence[Decision]) -> tuple[Logged, list[str]]:
    """Decisions as arrays, and the responses that their columns stand for."""
    names = sorted({name for decision in rewarded for name in decision.propensities})
    logged = Logged(
        np.array([names.index(decision.response) for decision in rewarded]),
        np.array([decision.propensities[decision.response] for decision in rewarded]),
        np.array([reward_of(decision) for decision in rewarded]),
    )
    return logged, names


def _expected(model: Linear, rewarded: Sequence[Decision], names: Sequence[str]) -> NDArray[np.float64]:
    """What a model expects of each response that was allowed, shape (N, K)."""
    made = np.zeros((len(rewarded), len(names)))
    for row, decision in enumerate(rewarded):
        for name in decision.propensities:
            made[row, names.index(name)] = model.expected(np.array(decision.context), name)
    return made
