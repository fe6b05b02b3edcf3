"""Constructed people whom an app answers: what learning gains each of them over the fixed policy, and what it costs.

    python -m benchmarks.adaptation_study [--people 200] [--decisions 512]

Each person is low, tense or glad again and again and is helped by each response with a chance of their own. A third is
as the policy thinks: its response helps most. A third is helped most by another response that may be tried. For a third
all responses are alike. The learner is the device's own, its log an SQLite file. Per kind of person: mean reward of the
fixed policy and of the learner, the gain with its standard error, the share of people for whom the learned policy is
followed at the end, and what the worst-off person lost a decision. What is promised: a tenth of the decisions are
tries, so nobody loses more than a tenth of what a wrong response costs, but for one learned policy in twenty that is
followed and is no better.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from fedaffect.edge.adaptation import Policy
from fedaffect.edge.adaptation.learning.bandits import BANDITS
from fedaffect.edge.adaptation.learning.learner import open_learner

_KINDS: Final = ("as the policy thinks", "otherwise", "all alike")


def main() -> None:
    """Print one JSON object a bandit and kind of person."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--decisions", type=int, default=512)
    asked = parser.parse_args()
    for bandit in BANDITS:
        lives = [_life(bandit, person, asked.decisions) for person in range(asked.people)]
        for kind in _KINDS:
            of_kind = [life for life in lives if life["kind"] == kind]
            gains = [life["learned"] - life["fixed"] for life in of_kind]
            print(
                json.dumps(
                    {
                        "bandit": bandit,
                        "person": kind,
                        "people": len(of_kind),
                        "decisions": asked.decisions,
                        "fixed": round(fmean(life["fixed"] for life in of_kind), 4),
                        "learned": round(fmean(life["learned"] for life in of_kind), 4),
                        "last_quarter": round(fmean(life["last_quarter"] for life in of_kind), 4),
                        "best": round(fmean(life["best"] for life in of_kind), 4),
                        "gain": round(fmean(gains), 4),
                        "standard_error": round(stdev(gains) / len(gains) ** 0.5, 4),
                        "followed": round(fmean(life["followed"] for life in of_kind), 3),
                        "worst_person": round(min(gains), 4),
                    }
                ),
                flush=True,
            )


def _life(bandit: str, person: int, decisions: int) -> dict[str, Any]:
    """One person; chances are used as rewards' means, so that luck of the draw is not called gain."""
    policy, rng = Policy.read(), np.random.default_rng((1, person))
    kind = _KINDS[person % len(_KINDS)]
    chances = {state: _chances(policy, state, kind, rng) for state in policy.states}
    states = list(policy.states)
    earned, fixed, best = [], [], []
    with TemporaryDirectory(dir=_memory()) as folder:
        learner = open_learner(policy, Path(folder) / "device.sqlite3", bandit=bandit, rng=rng)
        for _ in range(decisions):
            state = states[int(rng.integers(len(states)))]
            share = float(rng.uniform(0.5, 1.0))
            response, decision = learner(state, {name: share if name == state else 0.0 for name in states})
            chance = chances[state]
            learner.reward(decision, "helped", float(rng.random() < chance[response]))
            earned.append(chance[response])
            fixed.append(chance[policy.states[state].response])
            best.append(max(chance.values()))
        followed = learner.verdict.followed is not None
        learner.close()
    return {
        "kind": kind,
        "fixed": fmean(fixed),
        "learned": fmean(earned),
        "last_quarter": fmean(earned[-decisions // 4 :]),
        "best": fmean(best),
        "followed": followed,
    }


def _chances(policy: Policy, state: str, kind: str, rng: np.random.Generator) -> dict[str, float]:
    found = policy.states[state]
    allowed = [found.response, *found.may_try]
    if kind == "all alike":
        return dict.fromkeys(allowed, float(rng.uniform(0.4, 0.7)))
    helps = found.response if kind == "as the policy thinks" else str(rng.choice(found.may_try))
    return {name: float(rng.uniform(0.65, 0.85) if name == helps else rng.uniform(0.25, 0.5)) for name in allowed}


def _memory() -> str | None:
    """A folder that is no disk, where there is one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


if __name__ == "__main__":
    main()
