"""What noise in the centre costs: how often a client takes part, how much noise a budget asks for, what is spent."""

from __future__ import annotations

import math

from fedaffect.client.privacy.accounting import Spending, epsilon, solve_noise_multiplier
from fedaffect.client.privacy.settings import CENTRAL
from fedaffect.server.federation.privacy.checks import FTRL, POISSON, default_sampling
from fedaffect.server.federation.privacy.tree import tree_sensitivity
from fedaffect.server.federation.settings import RunSettings


class CentralAccountant:
    """Budget and spending of a run with central privacy.

    Parameters
    ----------
    config : RunSettings
    clients, expected : int
        N and K; under Poisson sampling K is what a round expects.
    chosen_by_server : bool
        Whether the server decides who takes part. Devices that choose themselves may take part in every round, and
        nothing is amplified.
    """

    def __init__(self, config: RunSettings, clients: int, expected: int, chosen_by_server: bool) -> None:
        self._config = config
        sampling = config.privacy.dp_sampling or default_sampling(CENTRAL, config.privacy.dp_mechanism)
        self.poisson = sampling == POISSON and chosen_by_server
        self.rate = expected / clients
        turns = math.ceil(config.federation.rounds * expected / clients)
        self._participations = turns if chosen_by_server else config.federation.rounds
        separation = max(1, clients // expected) if chosen_by_server else 1
        self._spread = tree_sensitivity(config.federation.rounds, self._participations, separation)
        self.noise_multiplier = self._solve(math.inf if config.privacy.epsilon is None else config.privacy.epsilon)

    def _solve(self, target: float) -> float:
        c = self._config
        if c.privacy.dp_mechanism == FTRL:
            return solve_noise_multiplier(target, c.privacy.delta, 1.0, 1, c.privacy.accountant) * self._spread
        rate, steps = (self.rate, c.federation.rounds) if self.poisson else (1.0, self._participations)
        return solve_noise_multiplier(target, c.privacy.delta, rate, steps, c.privacy.accountant)

    def spending(self, rounds: int) -> Spending:
        """What the first rounds cost a client."""
        if self._config.privacy.dp_mechanism == FTRL:
            # The tree is accounted whole: a run that ends early has used part of it, and is charged for all.
            return Spending(self.noise_multiplier / self._spread, 1.0, min(1, rounds))
        if self.poisson:
            return Spending(self.noise_multiplier, self.rate, rounds)
        return Spending(self.noise_multiplier, 1.0, min(rounds, self._participations))

    def epsilon(self, rounds: int, accountant: str) -> float:
        """What any client has spent after this many rounds."""
        return epsilon((self.spending(rounds),), self._config.privacy.delta, accountant)
