"""Local privacy: every client adds noise to every step, and the server learns how much that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from flwr.app import Message
from torch import Tensor

from fedaffect.client.cohort import Cohort
from fedaffect.client.privacy.accounting import ACCOUNTANTS, Spending, epsilon
from fedaffect.client.privacy.plan import private_plan
from fedaffect.client.privacy.settings import LOCAL, PrivacyConfig
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.privacy.checks import default_clipping
from fedaffect.server.federation.privacy.mechanism import described, finite
from fedaffect.server.federation.selection import choose_in_turn
from fedaffect.server.federation.settings import RunSettings


@dataclass(frozen=True, slots=True)
class LocalPrivacy:
    """Every client adds noise to every step: one utterance is protected from those who see an update, the server too.

    Clients take part in turn, so that all may plan for the same few rounds.

    Parameters
    ----------
    config : RunSettings
    sizes : tuple of int
        Training examples of each client.
    clients_a_round : int
    participations : int
        Rounds of one client at most.
    chosen_by_server : bool
        Whether the server decides who takes part. Of devices that choose themselves one may have been there each time.
    """

    config: RunSettings
    sizes: tuple[int, ...]
    clients_a_round: int
    participations: int
    chosen_by_server: bool = True

    @classmethod
    def of(cls, config: RunSettings, cohort: Cohort, clients_a_round: int, chosen_by_server: bool) -> LocalPrivacy:
        """The local privacy of a run; devices that choose themselves may take part in every round."""
        sizes = tuple(int(n) for n in np.diff(cohort.client_offsets))
        turns = (
            math.ceil(config.federation.rounds * clients_a_round / len(sizes))
            if chosen_by_server
            else config.federation.rounds
        )
        return cls(config, sizes, clients_a_round, turns, chosen_by_server)

    uniform = False
    hides_figures = True

    @property
    def sampling(self) -> Callable[[int], tuple[int, ...]]:
        """As many in each round, in turn."""
        return partial(choose_in_turn, len(self.sizes), self.clients_a_round, self.config.federation.seed)

    def update_norm(self) -> float:
        """No bound on whole updates: gradients are clipped."""
        return 0.0

    def aggregate(self, number: int, received: RoundReplies, current: Tensor) -> list[Message]:
        """The replies as they are: their noise is in them."""
        return received.for_strategy(current)

    def round_metrics(self, rounds: int) -> Mapping[str, float | None] | None:
        """Nothing: what a client has spent depends on its number of examples."""
        return None

    def restore(self, metrics: Mapping[str, Any] | None) -> None:
        """Nothing to restore."""

    def finish(self) -> None:
        """Nothing to end."""

    def client_settings(self) -> PrivacyConfig:
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
        turns = min(self.participations, in_turn if self.chosen_by_server else rounds)
        if not any(self.sizes):
            # Devices' own examples, which only they count: each makes its noise for the run's budget.
            return {
                "privacy": {
                    **described(c, "utterance", self.client_settings().epsilon),
                    "rounds_of_a_client": turns,
                    "protects_from": "those who see updates or the model, the server included",
                }
            }
        spent: dict[int, Spending] = {}
        for size in set(self.sizes) - {0}:
            plan = private_plan(
                self.client_settings(), size, c.training.batch_size, c.training.local_epochs, c.training.max_steps or 0
            )
            spent[size] = Spending(plan.noise_multiplier, plan.sample_rate, plan.steps * turns)
        by_size = {size: epsilon((s,), c.privacy.delta, c.privacy.accountant) for size, s in spent.items()}
        worst = max(by_size, key=lambda size: by_size[size])
        multipliers = sorted(s.noise_multiplier for s in spent.values())
        said = {
            **described(c, "utterance", by_size[worst]),
            "epsilon_by": {name: finite(epsilon((spent[worst],), c.privacy.delta, name)) for name in ACCOUNTANTS},
            "noise_multiplier": multipliers[0],
            "noise_multiplier_largest": multipliers[-1],
            "rounds_of_a_client": turns,
            "protects_from": "those who see updates or the model, the server included",
        }
        return {"privacy": said}
