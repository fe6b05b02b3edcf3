"""What a client's private training consists of, known before it begins: steps, sampling rate, noise.

Only the number of examples enters, which is taken as public: it sets the sampling rate and the weight in the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedaffect.client.privacy.accounting import Spending, solve_noise_multiplier
from fedaffect.client.privacy.settings import PrivacyConfig


@dataclass(frozen=True, slots=True)
class PrivatePlan:
    """One round of DP-SGD on one client.

    Parameters
    ----------
    sample_rate : float
        Probability with which each example is in a step's batch, independently of all others.
    steps : int
    noise_multiplier : float
        z.
    expected_batch : float
        By which noisy sums are divided; fixed, whatever a batch turns out to hold.
    """

    sample_rate: float
    steps: int
    noise_multiplier: float
    expected_batch: float

    @property
    def spending(self) -> Spending:
        """What the round costs."""
        return Spending(self.noise_multiplier, self.sample_rate, self.steps)


def steps_a_round(examples: int, batch_size: int, local_epochs: int, max_steps: int) -> int:
    """As many as without privacy: passes of ceil(N / batch) steps, ``max_steps`` at most where that is not 0."""
    steps = local_epochs * math.ceil(examples / batch_size)
    return min(steps, max_steps) if max_steps else steps


def private_plan(
    privacy: PrivacyConfig, examples: int, batch_size: int, local_epochs: int, max_steps: int
) -> PrivatePlan:
    """The plan of a client with this many examples.

    Parameters
    ----------
    privacy : PrivacyConfig
        Its target holds over ``participations`` such rounds.
    examples : int
        N, above 0.
    batch_size, local_epochs, max_steps : int
        As in ``fedaffect.client.train_config``.
    """
    rate = min(1.0, batch_size / examples)
    steps = steps_a_round(examples, batch_size, local_epochs, max_steps)
    multiplier = privacy.noise_multiplier or solve_noise_multiplier(
        privacy.epsilon, privacy.delta, rate, steps * privacy.participations, privacy.accountant
    )
    return PrivatePlan(rate, steps, multiplier, rate * examples)
