"""What a run promises: who takes part, what clients are told, what noise the centre adds, what it all cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fedaffect.client.cohort import Cohort
from fedaffect.client.privacy.accounting import ACCOUNTANTS, Spending, epsilon
from fedaffect.client.privacy.plan import private_plan
from fedaffect.client.privacy.settings import LOCAL, SECURE, PrivacyConfig
from fedaffect.server.federation.privacy.checks import default_clipping
from fedaffect.server.federation.selection import choose_in_turn
from fedaffect.server.federation.settings import RunSettings


class Promise(Protocol):
    """A run's privacy, as its loop sees it."""

    def choose(self, number: int) -> tuple[int, ...]:
        """Partition ids of a round."""

    def told(self) -> PrivacyConfig:
        """What the round's clients are told."""

    def summary(self, rounds: int) -> dict[str, Any]:
        """The ``privacy`` part of ``summary.json`` after this many rounds."""


@dataclass(frozen=True, slots=True)
class LocalPromise:
    """Every client adds noise to every step: one utterance is protected from whoever sees an update, the server too.

    Clients take part in turn, so that all may plan for the same few rounds.

    Parameters
    ----------
    config : RunSettings
    sizes : tuple of int
        Training examples of each client.
    clients_a_round : int
    participations : int
        Rounds of one client at most.
    chosen_by_us : bool
        Whether the server decides who takes part. Of devices that choose themselves one may have been there each time.
    """

    config: RunSettings
    sizes: tuple[int, ...]
    clients_a_round: int
    participations: int
    chosen_by_us: bool = True

    @classmethod
    def of(cls, config: RunSettings, cohort: Cohort, clients_a_round: int, chosen_by_us: bool) -> LocalPromise:
        """The promise of a run; devices that choose themselves may take part in every round."""
        sizes = tuple(int(n) for n in np.diff(cohort.client_offsets))
        turns = (
            math.ceil(config.federation.rounds * clients_a_round / len(sizes))
            if chosen_by_us
            else config.federation.rounds
        )
        return cls(config, sizes, clients_a_round, turns, chosen_by_us)

    def choose(self, number: int) -> tuple[int, ...]:
        """As many in each round, in turn."""
        return choose_in_turn(len(self.sizes), self.clients_a_round, self.config.federation.seed, number)

    def told(self) -> PrivacyConfig:
        """The budget over all rounds of one client; each solves its own noise from its number of examples."""
        c = self.config
        return PrivacyConfig(
            kind=LOCAL,
            clip_norm=c.privacy.clip_norm,
            clipping=c.privacy.clipping or default_clipping(LOCAL),
            epsilon=math.inf if c.privacy.epsilon is None else c.privacy.epsilon,
            delta=c.privacy.delta,
            participations=self.participations,
            accountant=c.privacy.accountant,
            engine=c.privacy.dp_engine,
            noise=c.privacy.dp_noise,
        )

    def summary(self, rounds: int) -> dict[str, Any]:
        """The largest epsilon that any client has spent, by the accountant and by the other beside it."""
        c = self.config
        in_turn = math.ceil(rounds * self.clients_a_round / len(self.sizes))
        turns = min(self.participations, in_turn if self.chosen_by_us else rounds)
        spent: dict[int, Spending] = {}
        for size in set(self.sizes) - {0}:
            plan = private_plan(
                self.told(), size, c.training.batch_size, c.training.local_epochs, c.training.max_steps or 0
            )
            spent[size] = Spending(plan.noise_multiplier, plan.sample_rate, plan.steps * turns)
        by_size = {size: epsilon((s,), c.privacy.delta, c.privacy.accountant) for size, s in spent.items()}
        worst = max(by_size, key=lambda size: by_size[size])
        multipliers = sorted(s.noise_multiplier for s in spent.values())
        return {
            **described(c, "utterance", by_size[worst]),
            "epsilon_by": {name: finite(epsilon((spent[worst],), c.privacy.delta, name)) for name in ACCOUNTANTS},
            "noise_multiplier": multipliers[0],
            "noise_multiplier_largest": multipliers[-1],
            "rounds_of_a_client": turns,
            "protects_from": "whoever sees updates or the model, the server included",
        }


def described(config: RunSettings, unit: str, spent: float) -> dict[str, Any]:
    """What both kinds of privacy say of themselves."""
    return {
        "kind": config.privacy.dp,
        "unit": unit,
        "epsilon": finite(spent),
        "delta": config.privacy.delta,
        "target_epsilon": finite(math.inf if config.privacy.epsilon is None else config.privacy.epsilon),
        "accountant": config.privacy.accountant,
        "clipping": {
            "kind": config.privacy.clipping or default_clipping(str(config.privacy.dp)),
            "norm": config.privacy.clip_norm,
        },
        "private": config.privacy.dp_noise == SECURE and math.isfinite(spent),
    }


def finite(value: float) -> float | None:
    """None for infinity, which JSON has no word for."""
    return value if math.isfinite(value) else None
